"""What a phase optimises: automatic weights and the learning rate, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kerasortho.config import Config, config_from_dict
from kerasortho.data.samples import Sample
from kerasortho.data.store import SampleStore
from kerasortho.radiograph.preprocessing import Preprocessing

keras = pytest.importorskip("keras")
from kerasortho.training.objective import compile_model  # noqa: E402

SPEC = Preprocessing(size=(8, 8))


@pytest.fixture
def config(tiny) -> Callable[..., Config]:
    """The configuration of a task, with ``training`` settings."""
    return lambda task, **training: config_from_dict(tiny.settings(Path("m.csv"), task, **training))


@pytest.fixture
def compiled(tiny) -> Callable[[Config, SampleStore], Any]:
    """A model compiled for the first phase of a configuration, with four batches an epoch."""

    def make(config: Config, store: SampleStore) -> Any:
        if config.task == "segmentation":
            model = tiny.build_segmenter(input_size=tiny.SIZE)
        else:
            model = tiny.build_classifier(input_size=tiny.SIZE, classes=store.classes)
        compile_model(model, config, config.training.phases[0], 4, store)
        return model

    return make


def sample(name: str, label: int = -1, **files: Path) -> Sample:
    image = files.get("image", Path(name))
    return Sample(name, image, files.get("mask"), files.get("ignore"), label, name, "train", {})


def labelled(labels: Sequence[int], classes: int) -> SampleStore:
    """Samples of which the class alone is known."""
    return SampleStore([sample(str(i), label) for i, label in enumerate(labels)], SPEC, place="none", classes=classes)


@pytest.fixture
def masked(tmp_path: Path) -> Callable[[int], SampleStore]:
    """Two images: 8 x 8 with ``foreground`` pixels, a row of which is doubtful; 8 x 4, padded, with a quarter of it."""

    def write(name: str, pixels: np.ndarray) -> Path:
        assert cv2.imwrite(str(tmp_path / name), pixels.astype(np.uint8))
        return tmp_path / name

    def make(foreground: int) -> SampleStore:
        samples = []
        for width, marked in ((8, foreground), (4, foreground // 4)):
            mask, ignore = np.zeros((8, width)), np.zeros((8, width))
            mask[3 : 3 + marked, 2] = 1
            files = {"image": write(f"{width}.png", np.arange(8 * width).reshape(8, width)),
                     "mask": write(f"mask{width}.png", mask)}  # fmt: skip
            if width == 8:
                ignore[3] = 1
                files["ignore"] = write("ignore.png", ignore)
            samples.append(sample(f"{width}.png", **files))
        return SampleStore(samples, SPEC)

    return make


def loss_of(model: Any) -> Callable[[np.ndarray, np.ndarray], float]:
    """The loss of truth and prediction as a number."""
    return lambda truth, prediction: float(model.loss(truth, prediction))


def of_pixels(*pixels: tuple[float, float]) -> np.ndarray:
    """Truth (1, 1, N, 2) of mask and weight."""
    return np.array(pixels, np.float32)[None, None]


class TestAutomaticWeights:
    """``auto`` in the configuration."""

    def test_pos_weight_is_background_by_foreground_of_counted_pixels(self, compiled, config, masked):
        store = masked(4)
        foreground, counted = 3 + 1, 64 - 8 + 32  # one marked pixel and seven others are doubtful; 32 are padding
        wanted = (counted - foreground) / foreground
        assert wanted == 21 and store.foreground_share() == pytest.approx(1 / 22)
        loss = loss_of(compiled(config("segmentation", loss_options={"pos_weight": "auto"}), store))
        prediction = np.full((1, 1, 2, 1), 0.25, np.float32)
        on, off = math.log(4), math.log(4 / 3)
        assert loss(of_pixels((1, 1), (0, 1)), prediction) == pytest.approx((21 * on + off) / 2, rel=1e-5)
        assert loss(of_pixels((1, 1), (1, 1)), prediction) == pytest.approx(21 * on, rel=1e-5)
        assert loss(of_pixels((0, 1), (0, 1)), prediction) == pytest.approx(off, rel=1e-5)
        plain = loss_of(compiled(config("segmentation"), store))
        assert plain(of_pixels((1, 1), (0, 1)), prediction) == pytest.approx((on + off) / 2, rel=1e-5)

    def test_pos_weight_without_any_foreground_is_1(self, compiled, config, masked):
        loss = loss_of(compiled(config("segmentation", loss_options={"pos_weight": "auto"}), masked(0)))
        prediction = np.full((1, 1, 1, 1), 0.25, np.float32)
        assert loss(of_pixels((1, 1)), prediction) == pytest.approx(math.log(4), rel=1e-5)

    def test_class_weights_are_inverse_frequencies_with_mean_1(self, compiled, config):
        labels = [1, 2, 0, 2, 1, 2]  # one, two and three images of six: weights 6 / (3 * 1), 6 / (3 * 2), 6 / (3 * 3)
        store = labelled(labels, 3)
        auto = loss_of(compiled(config("classification", class_weights="auto"), store))
        none = loss_of(compiled(config("classification"), store))
        truth = np.eye(3, dtype=np.float32)
        prediction = np.full((1, 3), 1 / 3, np.float32)
        for index, weight in enumerate((2.0, 1.0, 2 / 3)):
            assert auto(truth[[index]], prediction) == pytest.approx(weight * math.log(3), rel=1e-5)
            assert none(truth[[index]], prediction) == pytest.approx(math.log(3), rel=1e-5)
        every = np.repeat(prediction, 6, axis=0)
        assert auto(truth[labels], every) == pytest.approx(math.log(3), rel=1e-5)  # the mean


class TestLearningRate:
    """One value a batch, four batches an epoch."""

    @pytest.fixture
    def rates(self, compiled, config) -> Callable[..., list[float]]:
        """The learning rates of a phase's batches, and the one after its last."""

        def make(**phase: Any) -> list[float]:
            settings = config("classification", phases=[{"learning_rate": 0.5, **phase}])
            optimizer = compiled(settings, labelled([0, 1], 2)).optimizer
            values = []
            for step in range(4 * phase["epochs"] + 1):
                optimizer.iterations.assign(step)
                values.append(float(optimizer.learning_rate))
            return values

        return make

    def test_warm_up_from_0_to_the_peak_then_a_cosine_to_the_final_fraction(self, rates):
        found = rates(epochs=3, warmup_epochs=1, final_fraction=0.1)
        assert found[:5] == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
        assert found[6] == pytest.approx(0.05 + 0.45 * (1 + math.sqrt(0.5)) / 2)  # a quarter of the cosine
        assert found[8] == pytest.approx(0.05 + 0.45 / 2)  # half
        assert found[12] == pytest.approx(0.05)
        assert found[4:] == sorted(found[4:], reverse=True)

    def test_part_of_an_epoch_of_warm_up(self, rates):
        found = rates(epochs=1, warmup_epochs=0.5, final_fraction=0.0)
        assert found == pytest.approx([0, 0.25, 0.5, 0.25, 0], abs=1e-7)

    def test_no_warm_up(self, rates):
        found = rates(epochs=1, warmup_epochs=0, final_fraction=0.2)
        assert [found[0], found[2], found[4]] == pytest.approx([0.5, 0.3, 0.1])

    def test_final_fraction_1_is_constant(self, rates):
        assert rates(epochs=2, warmup_epochs=0, final_fraction=1.0) == pytest.approx([0.5] * 9)
