"""The tf.data pipeline: order and augmentation by seed and epoch alone, the right bits, flat memory."""

from __future__ import annotations

import os
import re
import runpy
from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasortho.config import Config, apply_settings, config_from_dict
from kerasortho.data.samples import Sample, load_samples
from kerasortho.data.store import CONTENT, COUNTED, FOREGROUND, SampleStore
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_radiograph
from kerasortho.radiograph.preprocessing import Preprocessing, preprocess

tf = pytest.importorskip("tensorflow")
from kerasortho.data.border_weights import border_weight_map  # noqa: E402
from kerasortho.data.pipeline import (  # noqa: E402
    TrainingBatches,
    balanced_visits,
    batches_an_epoch,
    epoch_order,
    evaluation_batches,
)

SIZE = (12, 10)
TESTS = Path(__file__).parents[1]


class FakeStore:
    """Samples made when asked for: pixel values tell the number; a third have foreground."""

    def __init__(self, count: int, size: tuple[int, int] = SIZE, classes: int = 3) -> None:
        self.spec = Preprocessing(size=size)
        self.classes = classes
        path = Path("image")
        self.samples = [Sample(f"{i}", path, None, None, i % classes, f"{i}", "train", {}) for i in range(count)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        target = np.full(self.spec.size, CONTENT | COUNTED, np.uint8)
        if index % 3 == 0:
            target[2:4, 2:4] |= FOREGROUND
            target[7:9, 2:4] |= FOREGROUND
        target[0] = 0  # padding
        target[1] = CONTENT  # doubtful
        return np.full(self.spec.size, 30_000 + index, np.uint16), target

    @cached_property
    def has_foreground(self) -> np.ndarray:
        return np.arange(len(self)) % 3 == 0


def config(*settings: str, task: str = "segmentation") -> Config:
    base = {
        "name": "a",
        "task": task,
        "data": {"manifest": "m.csv"},
        "model": {"name": "unet"},
        "preprocessing": {"size": list(SIZE)},
        "training": {"batch_size": 4, "phases": [{"epochs": 1}]},
    }
    return config_from_dict(apply_settings(base, settings))


def arrays(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    images, targets = zip(*((image.numpy(), target.numpy()) for image, target in dataset), strict=True)
    return np.concatenate(images), np.concatenate(targets)


def numbers(images: np.ndarray) -> list[int]:
    """The samples' numbers, from their pixels."""
    return (np.round(images[:, 5, 5, 0] * 65535).astype(int) - 30_000).tolist()


class TestOrder:
    """Which samples an epoch visits."""

    def test_each_once_and_another_way_each_epoch(self):
        store = FakeStore(50)
        orders = [epoch_order(store, config(), epoch) for epoch in range(3)]
        assert all(sorted(order) == list(range(50)) for order in orders)
        assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], np.arange(50))

    def test_depends_on_seed_and_epoch_alone(self):
        for epoch in (0, 7):
            np.random.seed(epoch)
            one = epoch_order(FakeStore(50), config(), epoch)
            tf.random.set_seed(5)
            assert np.array_equal(one, epoch_order(FakeStore(50), config("training.batch_size=9"), epoch))
            assert not np.array_equal(one, epoch_order(FakeStore(50), config("training.seed=1"), epoch))

    @pytest.mark.parametrize("fraction", [0.4, 0.5, 0.8, 1.0])
    def test_foreground_fraction(self, fraction):
        store = FakeStore(300)
        settings = config(f"training.foreground_fraction={fraction}")
        orders = [epoch_order(store, settings, epoch) for epoch in range(2)]
        for order in orders:
            assert len(set(order)) == len(order)
            assert store.has_foreground[order].sum() == 100  # each of them, once
            assert store.has_foreground[order].mean() == pytest.approx(fraction, abs=0.005)
            assert batches_an_epoch(store, settings) == -(-len(order) // 4)
        negatives = [set(order[~store.has_foreground[order]]) for order in orders]
        assert fraction == 1 or negatives[0] != negatives[1]  # drawn anew
        assert fraction == 1 or not store.has_foreground[orders[0]][:100].all()  # mixed

    def test_share_below_the_natural_one_takes_all(self):
        order = epoch_order(FakeStore(300), config("training.foreground_fraction=0.1"), 0)
        assert sorted(order) == list(range(300))

    def test_no_foreground_at_all(self):
        store = FakeStore(5)
        store.has_foreground = np.zeros(5, bool)
        with pytest.raises(KerasOrthoError, match=r"foreground_fraction is set.*no training image has any foreground"):
            epoch_order(store, config("training.foreground_fraction=0.5"), 0)


class TestBalance:
    """Rare values of a column are shown more often."""

    @staticmethod
    def store() -> FakeStore:
        store = FakeStore(100)
        regions = ["hand"] * 64 + ["leg"] * 25 + ["hip"] * 9 + ["shoulder", ""]
        store.samples = [replace(s, row={"region": region}) for s, region in zip(store.samples, regions, strict=True)]
        return store

    def test_visits_go_with_the_square_root(self):
        visits = balanced_visits(["hand"] * 64 + ["leg"] * 25 + ["hip"] * 9 + ["shoulder", ""])
        assert sum(visits.values()) == 100 and list(visits) == ["", "hand", "hip", "leg", "shoulder"]
        for name, root in zip(visits, (1, 8, 3, 5, 1), strict=True):
            assert visits[name] == pytest.approx(100 * root / 18, abs=1)

    @given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=300))
    def test_no_value_is_left_out(self, values):
        visits = balanced_visits(values)
        assert sum(visits.values()) == len(values) and set(visits) == set(values) and min(visits.values()) >= 1

    def test_order(self):
        store, settings = self.store(), config("data.balance=region")
        orders = [epoch_order(store, settings, epoch) for epoch in range(3)]
        for order in orders:
            visits = Counter(store.samples[i].row["region"] for i in order)
            assert visits == balanced_visits([s.row["region"] for s in store.samples])
            times = Counter(order.tolist())
            assert all(times[i] in (visits["hip"] // 9, visits["hip"] // 9 + 1) for i in range(89, 98))  # all alike
            assert max(times[i] for i in range(64)) == 1 and batches_an_epoch(store, settings) == 25
        assert {*orders[0].tolist()} != {*orders[1].tolist()}  # of the common ones, others
        assert np.array_equal(orders[2], epoch_order(self.store(), settings, 2))

    def test_a_repeated_image_is_augmented_anew(self):
        settings = config(*AUGMENTED, "data.balance=region")
        order = np.array([3, 1, 3, 3, 2])
        images = arrays(TrainingBatches(self.store(), settings).of(0, order))[0]
        assert (images[0] != images[2]).any() and (images[2] != images[3]).any()
        once = arrays(TrainingBatches(self.store(), config(*AUGMENTED)).of(0, order[:2]))[0]
        assert np.array_equal(images[:2], once)  # the first visit as ever
        rest = arrays(TrainingBatches(self.store(), settings).of(0, order, begin=2))[0]
        assert np.array_equal(rest, images[2:])

    def test_refused_beside_foreground_fraction(self):
        with pytest.raises(KerasOrthoError, match=r'"data.balance" must be null where training.foreground_fraction'):
            config("data.balance=region", "training.foreground_fraction=0.5")


class TestBatches:
    """What comes out."""

    def test_segmentation(self):
        store = FakeStore(10)
        order = epoch_order(store, config(), 0)
        batches = list(TrainingBatches(store, config()).of(0, order))
        assert [len(image) for image, _ in batches] == [4, 4, 2]
        images, targets = arrays(batches)
        assert images.dtype == targets.dtype == np.float32
        assert images.shape == (10, *SIZE, 1) and targets.shape == (10, *SIZE, 2)
        assert numbers(images) == list(order)
        for number, target in zip(order, targets, strict=True):
            stored = store[number][1]
            assert np.array_equal(target[..., 0], (stored & FOREGROUND > 0).astype(np.float32))
            assert np.array_equal(target[..., 1], (stored & COUNTED > 0).astype(np.float32))

    def test_classification(self):
        store = FakeStore(10)
        settings = config(task="classification")
        order = epoch_order(store, settings, 0)
        images, targets = arrays(TrainingBatches(store, settings).of(0, order))
        assert numbers(images) == list(order)
        assert np.array_equal(targets, np.eye(3, dtype=np.float32)[order % 3])

    def test_evaluation_is_in_order_and_plain(self):
        store = FakeStore(6)
        settings = config("augmentation.rotation=90", "augmentation.noise=0.5", "training.foreground_fraction=1.0")
        dataset = evaluation_batches(store, settings)
        images, _ = arrays(dataset)
        assert numbers(images) == list(range(6))
        assert np.array_equal(arrays(dataset)[0], images)  # again

    def test_border_weights(self):
        store = FakeStore(4)
        settings = config("training.border_weight=10", "training.border_sigma=3")
        _, targets = arrays(evaluation_batches(store, settings))
        stored = store[0][1]
        expected = border_weight_map(stored & FOREGROUND, w0=10.0, sigma=3.0) * (stored & COUNTED > 0)
        np.testing.assert_allclose(targets[0, ..., 1], expected, rtol=1e-6)
        assert expected.max() > 2  # between the two objects
        assert np.array_equal(targets[1, ..., 1], (store[1][1] & COUNTED > 0).astype(np.float32))  # no objects there


AUGMENTED = (
    "augmentation.rotation=40",
    "augmentation.horizontal_flip=true",
    "augmentation.noise=0.2",
    "augmentation.elastic=2",
    "augmentation.brightness=0.3",
)


class TestAugmented:
    """Randomness that can be repeated, whatever happens around it."""

    def test_same_seed_and_epoch_same_images(self):
        settings = config(*AUGMENTED)
        order = epoch_order(FakeStore(9), settings, 3)
        first = arrays(TrainingBatches(FakeStore(9), settings).of(3, order))
        tf.random.set_seed(99)
        again = arrays(TrainingBatches(FakeStore(9), settings).of(3, order))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))

    def test_other_epoch_or_seed_other_images(self):
        order = np.arange(9)
        first = arrays(TrainingBatches(FakeStore(9), config(*AUGMENTED)).of(3, order))[0]
        epoch = arrays(TrainingBatches(FakeStore(9), config(*AUGMENTED)).of(4, order))[0]
        seed = arrays(TrainingBatches(FakeStore(9), config(*AUGMENTED, "training.seed=1")).of(3, order))[0]
        assert all((first[i] != epoch[i]).any() and (first[i] != seed[i]).any() for i in range(9))
        assert all((first[i] != first[j]).any() for i in range(9) for j in range(i))

    def test_epochs_do_not_depend_on_those_before(self):
        settings, order = config(*AUGMENTED), np.arange(9)
        batches = TrainingBatches(FakeStore(9), settings)
        for epoch, visited in ((0, order), (1, order[:5]), (0, order)):
            again = arrays(TrainingBatches(FakeStore(9), settings).of(epoch, visited))
            assert all(np.array_equal(a, b) for a, b in zip(arrays(batches.of(epoch, visited)), again, strict=True))

    def test_an_epoch_resumed_in_its_middle_goes_on_the_same(self):
        settings = config(*AUGMENTED)
        order = epoch_order(FakeStore(10), settings, 2)
        whole = arrays(TrainingBatches(FakeStore(10), settings).of(2, order))
        for done in (1, 2):
            rest = arrays(TrainingBatches(FakeStore(10), settings).of(2, order, begin=4 * done))
            assert all(np.array_equal(a[4 * done :], b) for a, b in zip(whole, rest, strict=True))

    def test_nothing_left_is_no_batch(self):
        assert list(TrainingBatches(FakeStore(4), config()).of(0, np.arange(4), begin=4)) == []


def test_files_of_all_kinds_go_through(tmp_path):
    """16-bit PNG in, batches out: read from disk at each epoch."""
    samples = []
    for i in range(3):
        bright = np.zeros((30, 30), np.uint16)
        bright[5 : 15 + i, 5:25] = 60000
        for name, pixels in ((f"{i}.png", bright), (f"m{i}.png", (bright > 0).astype(np.uint8))):
            assert cv2.imwrite(str(tmp_path / name), pixels)
        samples.append(Sample(f"{i}.png", tmp_path / f"{i}.png", tmp_path / f"m{i}.png", None, -1, "g", "train", {}))
    store = SampleStore(samples, Preprocessing(size=SIZE), place="none")
    images, targets = arrays(evaluation_batches(store, config()))
    assert images.max() == 1.0 and images.min() == 0.0
    overlap = (images[..., 0] > 0.5) == (targets[..., 0] > 0)
    assert overlap[:, 1:-1].mean() > 0.9


@pytest.mark.parametrize("place", ["memory", "disk", "none"])
def test_dicom_goes_through(tmp_path, place):
    """Inverted, windowed 12-bit DICOM files of another shape, named in a manifest: as they are read one by one."""
    pytest.importorskip("pydicom")
    dx_dataset = runpy.run_path(str(TESTS / "radiograph" / "conftest.py"))["dx_dataset"]
    rows = []
    for i, split in enumerate(("train", "train", "val")):
        values = np.tile(np.linspace(3400, 2000, 30).astype(np.uint16), (40, 1))
        values[10 * i : 10 * i + 8] = 300
        dataset = dx_dataset(values, "1.2.840.10008.1.2.1")
        dataset.PhotometricInterpretation, dataset.BitsStored, dataset.HighBit = "MONOCHROME1", 12, 11
        dataset.WindowCenter, dataset.WindowWidth = 2000, 3000
        dataset.save_as(tmp_path / f"{i}", enforce_file_format=True)  # no ending, as on a hospital's disc
        assert cv2.imwrite(str(tmp_path / f"mask{i}.png"), np.uint8(values == 300))
        rows.append({"image": f"{i}", "mask": f"mask{i}.png", "group": f"{i}", "split": split})
    runpy.run_path(str(TESTS / "tables.py"))["write_rows"](tmp_path / "m.csv", rows)
    settings = config(f"data.manifest={tmp_path / 'm.csv'}")
    samples = load_samples(settings.data, "segmentation").split("train")
    store = SampleStore(samples, settings.preprocessing, place=place, folder=tmp_path / "cache")
    images, targets = arrays(evaluation_batches(store, settings))
    assert len(images) == 2
    for i, (image, target) in enumerate(zip(images[..., 0], targets, strict=True)):
        radiograph = read_radiograph(tmp_path / f"{i}")
        assert radiograph.tags["format"] == "DICOM"
        np.testing.assert_allclose(image, preprocess(radiograph.pixels, settings.preprocessing)[0], atol=1 / 65535)
        bone = target[..., 0] > 0
        assert image[bone].mean() > 0.8 > 0.4 > image[~bone].mean()  # low stored values are the bright ones


def test_unreadable_image_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    sample = Sample("broken.png", tmp_path / "broken.png", None, None, 0, "g", "train", {})
    store = SampleStore([sample], Preprocessing(size=SIZE), place="none")
    with pytest.raises(tf.errors.OpError) as caught:
        list(TrainingBatches(store, config(task="classification")).of(0, np.arange(1)))
    told = re.search(r"KerasOrthoError: (.+)", str(caught.value))  # as `fit` looks for it
    assert told is not None and "broken.png" in told[1]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is measured with /proc")
def test_memory_is_flat_in_the_number_of_images():
    """50,000 samples, of which an epoch's first 6,000 go by: pixels of 32 KB each, of which none may be kept."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    class Large(FakeStore):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return np.full(self.spec.size, 1, np.uint16), np.full(self.spec.size, CONTENT | COUNTED, np.uint8)

    store = Large(50_000, (128, 128))
    settings = config("training.batch_size=50", "preprocessing.size=[128, 128]", task="classification")
    list(TrainingBatches(store, settings).of(0, np.arange(500)))  # whatever TensorFlow needs at first
    before = resident()
    dataset = TrainingBatches(store, settings).of(1, epoch_order(store, settings, 1))
    assert sum(len(image) for image, _ in dataset.take(120)) == 6_000  # 400 MB as float32
    assert resident() - before < 120 << 20
