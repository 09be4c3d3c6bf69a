"""Trainings from files to a model that has learnt something, with each of the switches."""

from __future__ import annotations

import numpy as np
import pytest

import kerasortho
from kerasortho.config import config_from_dict

keras = pytest.importorskip("keras")
from kerasortho.radiograph import read_radiograph  # noqa: E402
from kerasortho.radiograph.preprocessing import (  # noqa: E402
    content_mask,
    letterbox,
    preprocess,
    preprocess_mask,
)
from kerasortho.radiograph.reading import read_mask  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(autouse=True)
def precision():
    """A run sets Keras's precision for the whole process: set it back."""
    yield
    keras.config.set_dtype_policy("float32")


def segmentation(tiny, dataset, **training):
    values = tiny.settings(dataset, "segmentation", batch_size=11, monitor="val_dice", mode="max", **training)
    values["training"]["phases"] = [{"epochs": 10, "learning_rate": 0.1}]
    return values


def inputs(run, split="val"):
    """The images of a split as the model meets them, made with numpy alone."""
    samples = run.samples().split(split)
    images = [preprocess(read_radiograph(s.image).pixels, run.config.preprocessing)[0] for s in samples]
    return samples, np.stack(images)[..., None]


def test_classification(tiny, dataset, tmp_path):
    phases = [{"epochs": 15, "learning_rate": 0.03, "unfreeze_from": "all"}]
    values = tiny.settings(dataset, batch_size=11, phases=phases)
    values["model"]["options"] = {"dropout": 0.1}
    run = kerasortho.fit(config_from_dict(values), runs=tmp_path)
    assert max(row["val_accuracy"] for row in run.history()) > 0.9
    samples, images = inputs(run)
    found = run.load_model().predict_on_batch(images).argmax(axis=1)
    assert (found == [s.label for s in samples]).mean() > 0.9
    assert {run.classes[i] for i in found} == {"lying", "upright"}


def test_segmentation_with_a_unet(tiny, dataset, tmp_path):
    values = segmentation(tiny, dataset)
    values["model"] = {"name": "unet", "options": {"depth": 1, "base_filters": 4}}
    values["training"]["phases"] = [{"epochs": 14, "learning_rate": 0.03}]
    values["augmentation"] = {"horizontal_flip": True, "rotation": 10}
    values["preprocessing"]["size"] = [32, 32]
    run = kerasortho.fit(config_from_dict(values), runs=tmp_path)
    best = max(row["val_dice"] for row in run.history())
    assert best > 0.7
    samples, images = inputs(run)
    spec = run.config.preprocessing
    inside = content_mask(letterbox(read_mask(samples[0].mask).shape, spec.size)) > 0  # padding is not counted
    masks = (run.load_model().predict_on_batch(images)[..., 0] >= 0.5) & inside
    truth = np.stack([preprocess_mask(read_mask(s.mask), spec) > 0 for s in samples])
    dice = 2 * (masks & truth).sum(axis=(1, 2)) / (masks.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)))
    assert dice.mean() == pytest.approx(best, abs=0.002)  # what training measured, from the saved model and plain numpy


@pytest.mark.parametrize(
    "switches",
    [
        {"loss": "softmax_ce", "border_weight": 2.0},
        {"loss": "bce_dice", "loss_options": {"pos_weight": "auto"}, "mixed_precision": "mixed_bfloat16"},
        {"loss": "dice", "jit": True, "foreground_fraction": 1.0},
    ],
    ids=["softmax-border", "bfloat16", "xla"],
)
def test_switches(tiny, dataset, tmp_path, switches):
    values = segmentation(tiny, dataset, **switches)
    if switches["loss"] == "softmax_ce":
        values["model"]["options"] = {"activation": "softmax"}
    run = kerasortho.fit(config_from_dict(values), runs=tmp_path)
    assert max(row["val_dice"] for row in run.history()) > 0.7
    model = run.load_model()
    assert all(w.dtype == "float32" for w in model.weights)
    assert inputs(run)[1].shape[1:] == model.input_shape[1:]
    assert model.predict_on_batch(inputs(run)[1]).dtype == np.float32
