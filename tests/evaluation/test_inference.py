"""From files to answers: the same for every batch size, at the image's own size, bad files among the good."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Prediction, Predictor
from kerasortho.radiograph.preprocessing import preprocess, to_native
from kerasortho.radiograph.reading import read_radiograph


@pytest.fixture
def images(tiny: SimpleNamespace, tmp_path: Path) -> list[Path]:
    """Seven images of odd sizes, 8 and 16 bits."""
    files = [tmp_path / f"{i}.png" for i in range(7)]
    for i, file in enumerate(files):
        tiny.write_image(file, (30 + 7 * i, 101 - 9 * i), bright_top=i % 2 == 0, seed=i, bits=16 if i % 3 == 0 else 8)
    return files


def test_answers_are_those_of_the_model_on_the_preprocessed_image(
    tiny: SimpleNamespace, tmp_path: Path, images: list[Path]
) -> None:
    model = tiny.segmenter()
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), model, "segmentation")
    for file, prediction in zip(images, Predictor(run).predict(images), strict=True):
        assert isinstance(prediction, Prediction)
        pixels = read_radiograph(file).pixels
        image, box = preprocess(pixels, run.config.preprocessing)
        expected = to_native(model.predict_on_batch(image[None, ..., None])[0, ..., 0], box)
        assert prediction.file == file
        assert prediction.shape == prediction.probabilities.shape == pixels.shape
        assert prediction.probabilities.dtype == np.float32
        np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-6)
        assert prediction.mask(0.5).dtype == np.uint8


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_batch_size_changes_no_answer_and_never_the_shape_asked(
    tiny: SimpleNamespace, tmp_path: Path, images: list[Path], batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    predictor = Predictor(run, batch_size=batch_size)
    shapes = []
    ask = predictor.ask
    monkeypatch.setattr(predictor, "ask", lambda batch: (shapes.append(batch.shape), ask(batch))[1])
    answers = [p.probabilities for p in predictor.predict(images)]
    answers += [p.probabilities for p in predictor.predict(images[:1])]
    assert len({*shapes}) == 1
    assert np.argmax(answers, axis=1).tolist() == [1, 0, 1, 0, 1, 0, 1, 1]
    single = [p.probabilities for p in Predictor(run, batch_size=1).predict(images)]
    np.testing.assert_allclose(answers[:7], single, atol=1e-6)


def test_a_bad_file_spoils_no_other_and_keeps_its_place(
    tiny: SimpleNamespace, tmp_path: Path, images: list[Path]
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    bad = tmp_path / "bad.png"
    bad.write_bytes(images[0].read_bytes()[:200])
    files = [bad, *images[:3], tmp_path / "missing.png", *images[3:], bad]
    answers = list(Predictor(run, batch_size=2).predict(files))
    assert [isinstance(a, Prediction) for a in answers] == [f in images for f in files]
    assert str(bad) in str(answers[0]) and "missing.png" in str(answers[4])
    assert all(isinstance(a, KerasOrthoError) for a in Predictor(run).predict([bad, bad]))


def test_an_unforeseen_error_of_a_decoder_is_reported_for_its_file_alone(
    tiny: SimpleNamespace, tmp_path: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(file: Path, blank: object) -> object:
        if file == images[1]:
            raise ZeroDivisionError("inside")
        return read_radiograph(file)

    monkeypatch.setattr("kerasortho.evaluation.inference.read_blanked", stumble)
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    answers = list(Predictor(run).predict(images[:3]))
    assert [isinstance(a, Prediction) for a in answers] == [True, False, True]
    assert str(images[1]) in str(answers[1]) and "ZeroDivisionError" in str(answers[1])


def test_no_files_give_no_answers(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    assert list(Predictor(run).predict([])) == []


def test_two_channel_softmax_gives_channel_1(tiny: SimpleNamespace, tmp_path: Path, images: list[Path]) -> None:
    """softmax([0, z]) is (1 - s, s) with s = sigmoid(z): both models say the same."""
    manifest = tiny.make_dataset(tmp_path / "data")
    sigmoid = Predictor(tiny.make_run(manifest, tiny.segmenter(), "segmentation", "sigmoid"))
    softmax = Predictor(tiny.make_run(manifest, tiny.segmenter(softmax=True), "segmentation", "softmax"))
    for one, two in zip(sigmoid.predict(images[:3]), softmax.predict(images[:3]), strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-5)


def test_threshold_includes_the_threshold_itself() -> None:
    probabilities = np.array([[0.1, 0.3, 0.7]], np.float32)
    prediction = Prediction(Path("a"), (1, 3), None, (), probabilities, None)
    assert prediction.mask(0.3).tolist() == [[0, 1, 1]]


def test_eight_and_sixteen_bits_of_one_image_get_one_answer(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    values = np.random.default_rng(0).integers(0, 256, (50, 40)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "8.png"), values)
    cv2.imwrite(str(tmp_path / "16.png"), values.astype(np.uint16) * 257)
    eight, sixteen = Predictor(run).predict([tmp_path / "8.png", tmp_path / "16.png"])
    np.testing.assert_allclose(eight.probabilities, sixteen.probabilities, atol=1e-6)


@pytest.mark.parametrize("which", ["size", "classes"])
def test_the_model_of_another_run_is_refused(tiny: SimpleNamespace, tmp_path: Path, which: str) -> None:
    run = tiny.make_run(
        tiny.make_dataset(tmp_path / "data"), tiny.classifier((64, 64) if which == "size" else (32, 32))
    )
    if which == "classes":
        data = json.loads((run.path / "data.json").read_text())
        (run.path / "data.json").write_text(json.dumps({**data, "classes": ["a", "b", "c"]}))
    with pytest.raises(KerasOrthoError, match=r"model\.keras does not belong to this run"):
        Predictor(type(run)(run.path))


def test_a_run_without_a_model_says_how_to_go_on(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    (run.path / "model.keras").unlink()
    with pytest.raises(KerasOrthoError, match="--resume"):
        Predictor(run)
