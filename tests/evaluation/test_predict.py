"""Prediction from Python: answers, masks, overlays, mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import kerasortho
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.predict import predict
from kerasortho.radiograph.reading import read_mask


def test_a_classifier_names_the_class_and_every_probability(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    answers = list(kerasortho.predict(run.path, tmp_path / "data/images"))
    assert [answer["label"] for answer in answers] == ["upper", "upper", "lower", "lower"] * 4
    for answer in answers:
        assert list(answer["probabilities"]) == ["lower", "upper"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    json.dumps(answers, allow_nan=False)


def test_masks_and_overlays_have_the_images_own_size(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    answers = list(predict(run, [tmp_path / "data/images"], output=tmp_path / "out"))
    assert len(answers) == 16
    for i, answer in enumerate(answers):
        stored = cv2.imread(answer["mask"], cv2.IMREAD_UNCHANGED)
        truth = read_mask(tmp_path / f"data/masks/{i:02d}.png")
        assert stored.dtype == np.uint8 and set(np.unique(stored)) == {0, 255}
        assert stored.shape == truth.shape == tuple(answer["size"])
        assert ((stored > 0) == truth).mean() > 0.95
        assert answer["foreground_fraction"] == pytest.approx((stored > 0).mean(), abs=1e-6)
        times = -(-512 // max(truth.shape))  # small ones are enlarged, to be looked at
        assert cv2.imread(answer["overlay"]).shape == (truth.shape[0] * times, truth.shape[1] * times, 3)
        assert answer["spacing_mm"] is None and "foreground_mm2" not in answer
    json.dumps(answers, allow_nan=False)


def test_without_an_output_folder_the_mask_itself_comes_back(
    tiny: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    answer = next(predict(run, tmp_path / "data/images/00.png"))
    assert answer["mask"].dtype == np.uint8 and answer["probability"].dtype == np.float32
    assert ((answer["probability"] >= 0.5) == answer["mask"]).all()
    assert not list((tmp_path / "empty").iterdir())


def test_the_threshold_moves_the_mask(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(bias=-1), "segmentation")
    image = tmp_path / "data/images/02.png"
    low, high = (next(predict(run, image, threshold=t))["foreground_fraction"] for t in (0.05, 0.95))
    assert low == 1.0 and 0.4 < high < 0.6
    with pytest.raises(KerasOrthoError, match="between 0 and 1"):
        predict(run, image, threshold=50)


def test_an_image_that_looks_black_gets_a_visible_overlay(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """12 bits in a 16-bit file: stored values up to 4095 of 65535."""
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(bias=-99), "segmentation")
    values = np.random.default_rng(0).integers(0, 4096, (60, 50)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "dark.png"), values)
    answer = next(predict(run, tmp_path / "dark.png", output=tmp_path / "out"))
    assert cv2.imread(answer["overlay"]).mean() > 100


def test_two_files_of_one_stem_and_two_calls_keep_their_own_masks(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    for folder, shape in (("a", (30, 40)), ("b", (50, 20))):
        tiny.write_image(tmp_path / folder / "hand.png", shape, True, 0)
    together = list(predict(run, [tmp_path / "a", tmp_path / "b"], output=tmp_path / "out", overlay=False))
    again = next(predict(run, tmp_path / "b/hand.png", output=tmp_path / "out"))
    assert "overlay" not in together[0]
    assert again["mask"] == together[1]["mask"] != together[0]["mask"]
    assert [read_mask(answer["mask"]).shape for answer in together] == [(30, 40), (50, 20)]


def test_spacing_gives_an_area(tiny: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kerasortho.radiograph import Radiograph

    pixels = np.concatenate([np.ones((20, 30)), np.zeros((20, 30))]).astype(np.float32)
    radiograph = Radiograph(pixels, (0.2, 0.1), "ImagerPixelSpacing", {"warnings": ("The window is wide.",)})
    monkeypatch.setattr("kerasortho.evaluation.inference.read_blanked", lambda file, boxes: radiograph)
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    answer = next(predict(run, "some.dcm"))
    assert answer["spacing_mm"] == [0.2, 0.1]
    assert answer["foreground_mm2"] == pytest.approx(20 * 30 * 0.02)
    assert answer["warnings"] == ["The window is wide."]


def test_mistakes_are_found_before_the_first_answer(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    (tmp_path / "empty").mkdir()
    with pytest.raises(KerasOrthoError, match=r'"output" is for segmentation.*Leave "output" out'):
        predict(run, "a.png", output="out")
    with pytest.raises(KerasOrthoError, match='"threshold" is for segmentation'):
        predict(run, "a.png", threshold=0.5)
    with pytest.raises(KerasOrthoError, match="holds no image"):
        predict(run, tmp_path / "empty")
    with pytest.raises(KerasOrthoError, match=r'no run directory .*Did you mean "run"'):
        predict(run.path.with_name("rum"), "a.png")


def test_an_output_folder_that_is_a_file_is_an_error(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    (tmp_path / "out").write_text("")
    with pytest.raises(KerasOrthoError, match="a part of that path is a file"):
        predict(run, tmp_path / "data/images", output=tmp_path / "out")


def test_no_overlay_of_an_earlier_call_stays_beside_a_newer_mask(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    image = tmp_path / "data/images/00.png"
    assert Path(next(predict(run, image, output=tmp_path / "out"))["overlay"]).is_file()
    assert "overlay" not in next(predict(run, image, output=tmp_path / "out", overlay=False))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"00_mask.png", "sources.json"}


def test_a_mask_of_an_earlier_call_is_named_where_its_image_fails(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.segmenter(), "segmentation")
    image = tmp_path / "data/images/00.png"
    mask = next(predict(run, image, output=tmp_path / "out"))["mask"]
    image.write_bytes(b"")
    answer = next(predict(run, image, output=tmp_path / "out"))
    assert answer["error"].endswith(f"Its mask of an earlier call is still there: {mask}.")
    assert str(image) not in answer["error"]


@pytest.mark.parametrize("keep", [0.5, 0.99, None])
def test_a_damaged_model_file_is_said_to_be_damaged(tiny: SimpleNamespace, tmp_path: Path, keep: float | None) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    file = run.path / "model.keras"
    data = bytearray(file.read_bytes())
    if keep is None:  # altered, not cut off
        data[len(data) // 2] ^= 255
    file.write_bytes(data if keep is None else data[: int(keep * len(data))])
    with pytest.raises(KerasOrthoError, match=r"model.keras is damaged: it was cut off or altered.*fit --resume"):
        predict(run, tmp_path / "data/images/00.png")
