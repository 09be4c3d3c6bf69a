"""`kerasortho predict`: JSON lines, files, exit codes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.radiograph.reading import read_mask

TESTS = Path(__file__).parents[1]
tiny = SimpleNamespace(**runpy.run_path(str(TESTS / "evaluation" / "tiny.py")))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return [json.loads(line) for line in out.splitlines()]


def test_a_classifier_prints_one_line_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    files = [str(tmp_path / f"data/images/{i:02d}.png") for i in (3, 0)]
    assert main(["predict", str(run.path), *files]) == 0
    answers = lines(capsys)
    assert [(a["file"], a["label"]) for a in answers] == [(files[0], "lower"), (files[1], "upper")]
    assert all(list(a) == ["file", "label", "probabilities"] for a in answers)


def test_a_segmentation_writes_into_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second call writes the same files again, and finds no new image in predictions/
        assert main(["predict", str(run.path), "data/images"]) == 0
        answers = lines(capsys)
        assert len(answers) == 16
        assert answers[5]["mask"] == str(Path("predictions/05_mask.png"))
        assert answers[5]["overlay"] == str(Path("predictions/05_overlay.png"))
        assert read_mask(answers[5]["mask"]).shape == (46, 57)
    assert len(list((tmp_path / "predictions").iterdir())) == 2 * 16 + 1


def test_a_dicom_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found in a folder without an ending, read as it is shown, measured by its spacing; its person in no answer."""
    pytest.importorskip("pydicom")
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    values = np.full((60, 40), 4000, np.uint16)
    values[:15] = 100
    dataset = runpy.run_path(str(TESTS / "radiograph" / "conftest.py"))["dx_dataset"](values, "1.2.840.10008.1.2.1")
    dataset.PhotometricInterpretation = "MONOCHROME1"  # what is stored low is bright
    dataset.ImagerPixelSpacing, dataset.PresentationIntentType = [0.2, 0.1], "FOR PROCESSING"
    (tmp_path / "study").mkdir()
    dataset.save_as(tmp_path / "study" / "IM000001", enforce_file_format=True)
    assert main(["predict", str(run.path), str(tmp_path / "study"), "--output", str(tmp_path / "out")]) == 0
    (answer,) = lines(capsys)
    assert answer["file"] == str(tmp_path / "study" / "IM000001")
    assert answer["size"] == [60, 40] and answer["spacing_mm"] == [0.2, 0.1]
    mask = read_mask(answer["mask"])
    assert mask.shape == (60, 40) and mask[:13].all() and not mask[17:].any()
    assert answer["foreground_mm2"] == pytest.approx(mask.sum() * 0.02)
    assert "FOR PROCESSING" in answer["warnings"][0] and "SECRET" not in json.dumps(answer).upper()


def test_bad_files_are_reported_in_place_and_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    good = tmp_path / "data/images/00.png"
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:300])
    words = [
        "predict",
        str(run.path),
        str(bad),
        str(good),
        str(tmp_path / "gone.png"),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(words) == 1
    answers = lines(capsys)
    assert ["error" in a for a in answers] == [True, False, True]
    assert list(answers[0]) == ["file", "error"] and answers[0]["file"] == str(bad)
    assert not any(str(tmp_path) in a["error"] for a in answers if "error" in a)  # the path is in "file"
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"00_mask.png", "00_overlay.png", "sources.json"}
    assert json.loads((tmp_path / "out/sources.json").read_text()) == {
        "00": str(good)
    }  # what failed is in its line alone


def test_where_nothing_can_be_predicted_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    assert main(["predict", str(run.path), str(tmp_path / "no.dcm"), "--output", str(tmp_path / "out")]) == 2
    assert lines(capsys) == [{"file": str(tmp_path / "no.dcm"), "error": "there is no such file. Check the path."}]
    assert not (tmp_path / "out").exists()


def test_what_is_skipped_in_folders_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    (tmp_path / "data/images/notes.txt").write_text("words")
    assert main(["predict", str(run.path), str(tmp_path / "data/images")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 16 and "Files skipped, being no images: 1 (1 .txt)." in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}"], "FILES"),
        (["{run}", "{empty}"], "holds no image"),
        (["{run}", "a.png", "--threshold", "0.4"], '"threshold" is for segmentation'),
        (["{run}", "a.png", "--output", "x"], '"output" is for segmentation'),
        (["{run}x", "a.png"], 'Did you mean "run"'),
        (["a.png", "--server", "http://127.0.0.1:9"], "--server needs --model NAME"),
        (["a.png", "--server", "http://127.0.0.1:9", "--model", "limb"], "Is the server running"),
        (["a.png", "--server", "u", "--model", "m", "--threshold", "0.4"], "--threshold cannot be chosen"),
        (["{run}", "a.png", "--model", "limb"], "--model is for --server"),
    ],
)
def test_mistakes_end_with_2_and_print_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    (tmp_path / "empty").mkdir()
    assert main(["predict", *(word.format(run=run.path, empty=tmp_path / "empty") for word in words)]) == 2
    out, err = capsys.readouterr()
    assert said in " ".join(err.split()) and not out and "Traceback" not in err
