"""Tiny data, models and configurations for the tests of training; run as a script: the child process that trains."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZE = (16, 16)
write_rows = runpy.run_path(str(Path(__file__).parents[1] / "tables.py"))["write_rows"]


def make_dataset(folder: Path, train: int = 22, val: int = 8, test: int = 0) -> Path:
    """Write images of an upright or a lying bright bar, with masks, two of a group; return the manifest."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, split in enumerate(["train"] * train + ["val"] * val + ["test"] * test):
        upright, mask = i % 2 == 0, np.zeros((36, 30), np.uint8)
        y, x = int(random.integers(12, 24)), int(random.integers(10, 20))
        height, width = (10, 3) if upright else (3, 9)
        mask[y - height : y + height, x - width : x + width] = 1
        pixels = np.clip(30 + 150 * mask + random.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)
        name = f"{i:02d}.png"
        assert cv2.imwrite(str(folder / name), pixels)
        assert cv2.imwrite(str(folder / f"mask-{name}"), mask * 255)
        rows.append(
            {
                "image": name,
                "mask": f"mask-{name}",
                "label": "upright" if upright else "lying",
                "group": f"{split}{i // 2}",
                "split": split,
            }
        )
    return write_rows(folder / "manifest.csv", rows)


def settings(manifest: Path, task: str = "classification", **training: Any) -> dict[str, Any]:
    """Return the configuration of a short training as plain data; ``training`` goes over its section of that name."""
    segmentation = task == "segmentation"
    return {
        "name": "tiny",
        "task": task,
        "data": {"manifest": str(manifest), "cache": "memory"},
        "model": {"name": "tiny_segmenter" if segmentation else "tiny_classifier"},
        "preprocessing": {"size": list(SIZE)},
        "training": {"batch_size": 4, "phases": [{"epochs": 2, "learning_rate": 0.01}], **training},
    }


def register() -> None:
    """Add the tiny models to the registry: nothing of what is tested here depends on a network's size."""
    from kerasortho.models.registry import MODELS, ModelEntry

    MODELS["tiny_classifier"] = ModelEntry("classification", build_classifier, "for tests")
    MODELS["tiny_segmenter"] = ModelEntry("segmentation", build_segmenter, "for tests")


def build_classifier(
    *, input_size: tuple[int, int], classes: int, dropout: float = 0.0, weights: str | None = None
) -> Any:
    """Return a classifier with a nested, frozen backbone of two layers; ``weights`` is a file that must exist."""
    import keras

    from kerasortho.errors import KerasOrthoError

    if weights is not None and not Path(weights).is_file():
        raise KerasOrthoError(f"There is no weights file {weights}.")
    layers = keras.layers
    inner = keras.Input((*input_size, 1))
    x = layers.Conv2D(8, 5, strides=2, activation="relu", name="conv1")(inner)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="conv2")(x)
    backbone = keras.Model(inner, x, name="backbone")
    backbone.trainable = False
    image = keras.Input((*input_size, 1), name="image")
    x = layers.GlobalMaxPooling2D(name="pool")(backbone(image, training=False))
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(image, layers.Dense(classes, "softmax", name="probabilities", dtype="float32")(x))


def build_segmenter(*, input_size: tuple[int, int], dropout: float = 0.0, activation: str = "sigmoid") -> Any:
    """Return two convolutions and the head that all segmentation models share."""
    import keras

    from kerasortho.models.segmentation_head import probability_output, segmentation_input

    image = segmentation_input(input_size)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(image, probability_output(x, activation, None))


def die_at(file: str, number: int, when: str) -> None:
    """Kill this process "before" or "after" a file of that name is put in its place for the ``number``-th time."""
    replace, seen = os.replace, [0]

    def replace_and_die(source: Any, target: Any) -> None:
        seen[0] += Path(target).name == file
        if seen[0] == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if seen[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace_and_die


def child(words: list[str], log: str, fault: tuple[str, int, str] | None) -> int:
    """Run the command line with stdout and stderr in ``log``."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, 1)
    os.dup2(target, 2)
    register()
    if fault:
        die_at(*fault)
    from kerasortho.cli.main import main

    return main(words)


if __name__ == "__main__":
    given = globals()  # by conftest.py
    sys.exit(child(given["WORDS"], given["LOG"], given["FAULT"]))
