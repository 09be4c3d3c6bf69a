"""`kerasortho evaluate`: what it prints, where it writes, how it ends."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from kerasortho.cli.main import main

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "evaluation" / "tiny.py")))


def test_a_classifiers_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    assert main(["evaluate", str(run.path), "--by", "side", "--by", "label"]) == 0
    out, err = capsys.readouterr()
    assert "8 images of 4 groups (column group): split test of" in out
    assert "only 4 groups: these intervals are not reliable" in out and "WARNING" not in out
    assert "8 of 8  Wilson 0.6756-1.0000; no interval from groups: the same value whichever are drawn" in out
    assert "too few groups for reliable intervals: left, right" in out
    assert "true \\ predicted  lower  upper" in out
    assert "left   4       4       1.0000 0.5101-1.0000 (Wilson)" in out
    assert "lower" in out.split("label", 1)[1]  # the table by label
    for written in [line.split(" ", 1)[1] for line in out.splitlines() if line.startswith("wrote ")]:
        assert Path(written).is_file()
    assert "evaluating test" in err and "Traceback" not in err


def test_scores_on_training_images_are_said_to_be_too_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    assert main(["evaluate", str(run.path), "--split", "all", "--no-figures"]) == 0
    said = "trained or selected on 8 of these images, such as images/00.png, and 7 more"
    assert f"WARNING, scores too good: the model was {said}" in capsys.readouterr().out


def test_a_segmentations_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data", empty=(9,)), tiny.segmenter(), "segmentation")
    assert main(["evaluate", str(run.path), "--no-figures", "--batch-size", "3"]) == 0
    out = capsys.readouterr().out
    assert "Dice" in out and "pooled Dice" in out
    assert "1 of 1 images without foreground have some marked" in out
    assert not list(run.figures.glob("*"))


def test_another_manifest_with_one_class_and_a_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    tiny.write_image(tmp_path / "other/1.png", (60, 40), True, 1)
    (tmp_path / "other/2.png").write_bytes(b"broken")
    rows = [{"image": f"{i}.png", "label": "upper"} for i in (1, 2)]
    manifest = tiny.write_rows(tmp_path / "other/clinic.csv", rows)
    assert main(["evaluate", str(run.path), "--manifest", str(manifest)]) == 1
    out = capsys.readouterr().out
    assert "not judged: 2.png" in out
    assert "undefined: no image of lower" in out
    assert f"1 images of unknown patients: all of {manifest}" in out and "intervals resample single images" in out
    assert "clinic-all.csv" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "tests"], 'Did you mean "test"'),
        (["--by", "sides"], 'Did you mean "side"'),
        (["--manifest", "nowhere.csv"], "nowhere.csv"),
        (["--batch-size", "0"], "batch-size"),
    ],
)
def test_mistakes_end_with_2_and_one_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    assert main(["evaluate", str(run.path), *words]) == 2
    out, err = capsys.readouterr()
    assert said in " ".join(err.split()) and "Traceback" not in err
    assert not out
    assert not (run.path / "metrics.json").exists()


def test_a_changed_manifest_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tiny.make_dataset(tmp_path / "data")
    run = tiny.make_run(manifest, tiny.classifier())
    manifest.write_text(manifest.read_text().replace("test", "val"))
    assert main(["evaluate", str(run.path)]) == 2
    assert "has changed since" in " ".join(capsys.readouterr().err.split())
