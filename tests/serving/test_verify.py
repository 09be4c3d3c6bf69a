"""`kerasortho verify`: equal ways are found equal, and a way that differs is found out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.evaluation.inference import Prediction
from kerasortho.serving.client import ServedPrediction
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
    assert found["images"] == 3 and len(found["refused"]) == 1 and "d.png" in found["refused"][0]
    assert [way["way"] for way in found["ways"]] == ["keras", "savedmodel", "rest", "grpc"]
    for way in found["ways"]:
        assert way["largest_difference"] < 2e-6 and way["failure"] is None and way["median_ms"] > 0
        assert way["same_labels" if name == "limb" else "smallest_dice"] == (3 if name == "limb" else 1.0)
        assert name == "limb" or way["mean_dice"] == 1.0


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
    assert lines[0] == "1 image" and lines[1].startswith("Keras was not asked") and "--run" in lines[1]
    assert lines[4].startswith("savedmodel") and lines[4].endswith("compared with")
    assert [line.split()[0] for line in lines[4:]] == ["savedmodel", "rest", "grpc"]


def failure(task: str, way: str = "fp16", images: int = 3, **found: object) -> str:
    return Verification(task, images, [], [Compared(way, **found)]).failures.get(way, "")  # type: ignore[arg-type]


def test_what_is_not_good_enough() -> None:
    assert failure("classification", same_labels=3, difference=1.9e-3) == ""
    assert "differ by 2.1e-03" in failure("classification", same_labels=3, difference=2.1e-3)
    assert failure("classification", same_labels=2) == "1 label not the same"
    assert failure("segmentation", dice=[1.0, 0.9991]) == ""
    assert "0.99800" in failure("segmentation", dice=[0.998, 1.0])
    assert failure("segmentation", refused_alike=False) == "other files were refused"
    assert failure("segmentation", difference=float(np.nan)) == "an answer is not a number"


def test_int8_is_judged_by_what_it_says() -> None:
    assert failure("classification", "int8", 16, same_labels=15, difference=0.3) == ""
    assert failure("classification", "int8", 16, same_labels=14) == "2 labels not the same"
    assert failure("classification", "int8", 400, same_labels=398) == ""
    assert failure("classification", "int8", 400, same_labels=397) == "3 labels not the same"
    assert failure("classification", "int8", 1, same_labels=0) == "1 label not the same"
    assert failure("segmentation", "dynamic-int8", dice=[0.98, 1.0], difference=0.3) == ""
    assert "mean Dice of 0.9850" in failure("segmentation", "dynamic-int8", dice=[0.97, 1.0])
    assert "not a number" in failure("segmentation", "int8", dice=[1.0], difference=float(np.nan))


def test_the_files_that_differ_most_are_named() -> None:
    from kerasortho.serving.verify import _compare

    def answer(name: str, *shares: float) -> Prediction:
        return Prediction(Path("folder") / name, (4, 4), None, (), np.array(shares, np.float32), None)

    card = {"task": "classification", "classes": ["lower", "upper"]}
    row = Compared("int8")
    for number, share in enumerate((0.45, 0.3, 0.9, 0.4, 0.44)):  # of "lower"; Keras: 0.51
        _compare(answer(f"{number}.png", 0.51, 0.49), answer(f"{number}.png", share, 1 - share), row, card)
    found = Verification("classification", 5, [], [Compared("keras", same_labels=5), row])
    assert row.same_labels == 1 and found.failures == {"int8": "4 labels not the same"}
    (line,) = found.worst_cases()
    assert line == (
        "int8: 1.png is upper (0.7000), not lower (0.5100); 3.png is upper (0.6000), not lower (0.5100); "
        "4.png is upper (0.5600), not lower (0.5100); and 1 more file"
    )
    assert len(found.to_dict()["ways"][1]["different"]) == 4


def test_masks_that_differ_are_named() -> None:
    from kerasortho.serving.verify import _compare

    wanted, other = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    wanted[:2], other[:3] = 1, 1
    row = Compared("fp16")
    card = {"task": "segmentation", "threshold": 0.5}
    for each in (wanted, other):
        _compare(*(Prediction(Path("wrist.png"), (4, 4), None, (), map_, None) for map_ in (wanted, each)), row, card)
    row.difference = 0.0
    (line,) = Verification("segmentation", 2, [], [row]).worst_cases()
    assert line == "fp16: wrist.png has a mask Dice of 0.8000, 10 pixels"


def test_not_a_number_is_never_no_difference() -> None:
    row = Compared("rest")
    for difference in (0.5, float(np.nan), 0.1):
        row.note(difference)
    assert np.isnan(row.difference)
    assert json.dumps(Verification("segmentation", 1, [], [row]).to_dict()).count("NaN") == 0


class Answers:
    """A way that answers with what it is given."""

    name = "rest"

    def __init__(self, given: np.ndarray, served: bool = False) -> None:
        made = ServedPrediction if served else Prediction
        mask = {"served_mask": (given >= 0.5).astype(np.uint8)} if served else {}
        self.prediction = made(Path("x"), given.shape, None, (), given, None, **mask)  # type: ignore[arg-type]


@pytest.mark.parametrize("levels, difference", [(0, 0.0), (1, 0.5 / 255), (2, 1.5 / 255)])
def test_a_served_map_may_be_half_a_level_off(levels: int, difference: float) -> None:
    """A server that decodes or prepares a file otherwise is seen, though the mask stays the same."""
    from kerasortho.serving.verify import _compare

    level = np.full((4, 4), 200 / 255, np.float32)
    served = Answers(level + np.float32(levels / 255), served=True).prediction
    row = Compared("rest")
    _compare(Answers(level).prediction, served, row, {"task": "segmentation", "threshold": 0.5})
    assert row.difference == pytest.approx(difference, abs=1e-6) and row.dice == [1.0]
    assert bool(row.failure(1, "segmentation")) == (levels > 0)


def test_other_preprocessing_in_the_graph_is_found(
    runs: dict[str, Path], exported: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tensor signature cannot show it, since its input is prepared outside."""
    from kerasortho.serving import client

    read = client.encoded

    def brighter(file: Path, radiograph: object) -> bytes:
        pixels = cv2.imdecode(np.frombuffer(read(file, radiograph), np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[arg-type]
        return bytes(cv2.imencode(".png", cv2.GaussianBlur(pixels, (0, 0), 0.5))[1])

    monkeypatch.setattr(client, "encoded", brighter)
    found = verify(exported / "bone" / "1", files[:1], RunDirectory(runs["bone"]))
    assert set(found.failures) == {"savedmodel", "rest", "grpc"}
    assert all("probabilities differ" in reason for reason in found.failures.values())


def test_nothing_compared_is_no_success(exported: Path, files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(exported / "limb"), str(files[3])]) == 2
    assert "None of 1 file could be read, so nothing was compared" in capsys.readouterr().err


def test_the_run_is_found_in_runs(
    runs: dict[str, Path],
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By its model.keras; the one of the same name is another model here."""
    (tmp_path / "runs" / "limb").mkdir(parents=True)
    (tmp_path / "runs" / "limb" / "model.keras").write_text("another")
    shutil.copytree(runs["limb"], tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    assert main(["verify", str(exported / "limb"), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["ways"][0]["way"] == "keras" and found["images"] == 8  # the run's test images
    assert f"was exported from {tmp_path / 'runs' / 'first'}" in err


def test_mistakes(runs: dict[str, Path], exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([exported / "limb"], "Name the run with --run RUN, or image files"),
        ([exported / "lim"], 'Did you mean "limb"'),
        ([exported / "limb", "--run", runs["bone"]], "was not exported from"),
    ):
        assert main(["verify", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
