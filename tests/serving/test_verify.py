"""`kerasortho verify`: equal ways are found equal, and a way that differs is found out."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.serving.verify import Compared, Verification, verify
from kerasortho.training.run import RunDirectory


@pytest.fixture(scope="module")
def files(tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two PNGs (8 and 16 bits), a TIFF that has to be converted on its way, and a file that is no image."""
    folder = tmp_path_factory.mktemp("files")
    tiny.write_image(folder / "a.png", (57, 80), True, 0)
    tiny.write_image(folder / "b.png", (90, 33), False, 1, 16)
    cv2.imwrite(str(folder / "c.tif"), cv2.imread(str(folder / "b.png"), cv2.IMREAD_UNCHANGED))
    (folder / "d.png").write_text("no image")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", ["limb", "bone"])
def test_all_ways_give_one_answer(
    runs: dict[str, Path], exported: Path, files: list[Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(exported / name), *map(str, files), "--run", str(runs[name]), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["refused"]) == (3, 1)
    assert [way["way"] for way in found["ways"]] == ["keras", "savedmodel", "rest", "grpc"]
    for way in found["ways"]:
        assert way["largest_difference"] < 2e-6 and way["failure"] is None and way["median_ms"] > 0
        assert way["same_labels" if name == "limb" else "smallest_dice"] == (3 if name == "limb" else 1.0)


def test_an_exported_model_that_answers_otherwise_is_found(
    runs: dict[str, Path], exported: Path, files: list[Path], tiny: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's model is altered after the export, and the run claims to be the one exported from."""
    run = RunDirectory(runs["bone"])
    whole = (run.path / "model.keras").read_bytes()
    try:
        tiny.segmenter(bias=-14.0).save(run.path / "model.keras")
        found = verify(exported / "bone" / "1", files[:1], run)
    finally:
        (run.path / "model.keras").write_bytes(whole)
    assert set(found.failures) == {"savedmodel", "rest", "grpc"}
    assert "probabilities differ" in found.failures["rest"]


def test_without_a_run_the_savedmodel_comes_first(
    exported: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(exported / "limb" / "1"), str(files[0])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 image" and lines[3].startswith("savedmodel") and lines[3].endswith("compared with")
    assert [line.split()[0] for line in lines[3:]] == ["savedmodel", "rest", "grpc"]


def test_what_is_not_good_enough() -> None:
    def failure(task: str, **found: object) -> str:
        return Verification(task, 3, 0, [Compared("fp16", **found)]).failures.get("fp16", "")  # type: ignore[arg-type]

    assert failure("classification", same_labels=3, difference=1.9e-3) == ""
    assert "differ by 2.1e-03" in failure("classification", same_labels=3, difference=2.1e-3)
    assert failure("classification", same_labels=2) == "1 label not the same"
    assert failure("segmentation", smallest_dice=0.9991) == ""
    assert "0.99800" in failure("segmentation", smallest_dice=0.998)
    assert failure("segmentation", refused_alike=False) == "other files were refused"
    assert "differ" in failure("segmentation", difference=float(np.nan))


def test_mistakes(runs: dict[str, Path], exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([exported / "limb"], "Name image files, or the run"),
        ([exported / "lim"], 'Did you mean "limb"'),
        ([exported / "limb", "--run", runs["bone"]], "was not exported from"),
    ):
        assert main(["verify", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
