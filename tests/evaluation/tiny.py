"""Tiny runs with real files, for the tests here and of the command line: generated PNGs, hand-made models."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kerasortho.config import config_from_dict
from kerasortho.data.samples import load_samples
from kerasortho.training.run import RunDirectory

SIZE = (32, 32)
write_rows = runpy.run_path(str(Path(__file__).parents[1] / "tables.py"))["write_rows"]


def write_image(path: Path, shape: tuple[int, int], bright_top: bool, seed: int, bits: int = 8) -> np.ndarray:
    """Write a noisy PNG whose upper or lower half is bright; return the bright part as (H, W) uint8 of {0, 1}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(shape, np.uint8)
    half = shape[0] // 2
    mask[slice(None, half) if bright_top else slice(half, None)] = 1
    noise = np.random.default_rng(seed).uniform(0, 0.1, shape)
    white = 2**bits - 1
    pixels = ((0.1 + 0.7 * mask + noise) * white).astype(np.uint8 if bits == 8 else np.uint16)
    assert cv2.imwrite(str(path), pixels)
    return mask


def make_dataset(folder: Path, images: int = 16, empty: Sequence[int] = ()) -> Path:
    """Write images of odd sizes and both depths, with masks, two a group, half for testing; return the manifest."""
    rows = []
    for i in range(images):
        name = f"images/{i:02d}.png"
        mask = write_image(
            folder / name, (41 + i % 20, 67 - 2 * (i % 20)), bright_top=i % 4 < 2, seed=i, bits=16 if i % 3 == 0 else 8
        )
        if i in empty:
            mask[:] = 0
        (folder / "masks").mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / f"masks/{i:02d}.png"), mask * 255)
        split = "test" if i >= images // 2 else "val" if i >= images // 4 else "train"
        label = "upper" if i % 4 < 2 else "lower"
        rows.append({"image": name, "mask": f"masks/{i:02d}.png", "label": label, "group": f"p{i // 2}", "split": split,
                     "side": "left" if i % 4 in (0, 3) else "right"})  # fmt: skip
    return write_rows(folder / "manifest.csv", rows)


def classifier(size: tuple[int, int] = SIZE) -> Any:
    """Return a model that says "upper" (class 1) where the upper half is the brighter one; certain, no training."""
    import keras

    image = keras.Input((*size, 1), name="image")
    rows = keras.layers.AveragePooling2D((size[0] // 2, size[1]))(image)  # (B, 2, 1, 1): upper and lower half
    dense = keras.layers.Dense(2, activation="softmax", name="probabilities")
    model = keras.Model(image, dense(keras.layers.Flatten()(rows)))
    dense.set_weights([np.array([[-4, 4], [4, -4]], np.float32), np.zeros(2, np.float32)])
    return model


def segmenter(size: tuple[int, int] = SIZE, softmax: bool = False, bias: float = -10.0) -> Any:
    """Return a model that marks bright pixels."""
    import keras

    image = keras.Input((*size, 1), name="image")
    layer = keras.layers.Conv2D(
        2 if softmax else 1, 1, activation="softmax" if softmax else "sigmoid", name="probability"
    )
    model = keras.Model(image, layer(image))
    kernel = np.array([[0.0, 20.0]] if softmax else [[20.0]], np.float32)[None, None]
    layer.set_weights([kernel, np.array([0.0, bias] if softmax else [bias], np.float32)])
    return model


def make_run(manifest: Path, model: Any, task: str = "classification", name: str = "run") -> RunDirectory:
    """Make a complete run, in ``runs/NAME`` beside the dataset's folder."""
    config = config_from_dict(
        {
            "name": name,
            "task": task,
            "data": {"manifest": str(manifest)},
            "model": {"name": "tiny"},
            "training": {"phases": [{"epochs": 2}, {"epochs": 1}]},
            "preprocessing": {"size": list(SIZE)},
            "evaluation": {"bootstrap": 200},
        }
    )
    path = manifest.parent.parent / "runs" / name
    samples = load_samples(config.data, config.task)
    counts = {split: len(samples.split(split)) for split in ("train", "val", "test")}
    plan = {"images": counts, "groups": {split: count // 2 for split, count in counts.items()}}
    run = RunDirectory.create(path, config, samples, plan=plan)
    epochs = [
        {"epoch": e + 1.0, "phase": 1.0 + (e > 1), "loss": 1 / (e + 1), "val_loss": 1.2 / (e + 1)} for e in range(3)
    ]
    run.write_history(epochs)
    model.save(run.path / "model.keras")
    return run
