"""Dice while training, against scikit-learn's F1 (the same number) and a count by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from kerasortho.config import METRICS, Task
from kerasortho.training.metrics import DiceMetric, GlobalDice
from kerasortho.training.objective import make_metrics


@pytest.fixture
def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Two batches of truth ``(3, 6, 7, 2)`` and predictions ``(3, 6, 7, 1)``; one image has no foreground."""
    random = np.random.default_rng(0)
    result = []
    for _ in range(2):
        mask, counted = random.integers(0, 2, (2, 3, 6, 7))
        result.append((np.stack([mask, 0.5 * counted], -1).astype("f"), random.random((3, 6, 7, 1)).astype("f")))
    result[0][0][1, ..., 0] = 0
    return result


def scores(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return mean per-image Dice (images with foreground) and global Dice by scikit-learn."""
    images, all_truth, all_found = [], [], []
    for truth, prediction in batches:
        for t, p in zip(truth, prediction, strict=True):
            counted = t[..., 1] > 0
            y, found = t[..., 0][counted], p[..., 0][counted] >= 0.5
            all_truth.append(y)
            all_found.append(found)
            if y.any():
                images.append(f1_score(y, found))
    return float(np.mean(images)), float(f1_score(np.concatenate(all_truth), np.concatenate(all_found)))


@pytest.mark.parametrize("softmax", [False, True])
def test_dice_is_scikit_learns_f1_over_counted_pixels(
    softmax: bool, batches: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    metrics = DiceMetric(), GlobalDice()
    for truth, prediction in batches:
        shown = np.concatenate([1 - prediction, prediction], -1) if softmax else prediction
        for metric in metrics:
            metric.update_state(truth, shown)
    assert [float(m.result()) for m in metrics] == pytest.approx(scores(batches), rel=1e-5)


def test_reset_forgets(batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for metric in (DiceMetric(), GlobalDice()):
        assert float(metric.result()) == 0
        metric.update_state(*batches[0])
        metric.reset_state()
        metric.update_state(*batches[1])
        alone = type(metric)()
        alone.update_state(*batches[1])
        assert float(metric.result()) == float(alone.result()) > 0


def test_images_without_foreground_count_only_globally() -> None:
    truth = np.zeros((2, 4, 4, 2), np.float32)
    truth[..., 1] = 1
    truth[0, :2, :, 0] = 1
    prediction = truth[..., :1].copy()
    prediction[1, 0, 0] = 0.9  # a false alarm on the empty image
    per_image, overall = DiceMetric(), GlobalDice()
    for metric in (per_image, overall):
        metric.update_state(truth, prediction)
    assert float(per_image.result()) == 1
    assert float(overall.result()) == pytest.approx(2 * 8 / (8 + 9))


def test_metrics_work_in_fit_and_are_rebuilt_from_their_config(batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
    model = keras.Sequential([keras.Input((6, 7, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    model.compile("sgd", lambda y, p: keras.ops.mean(p), metrics=[DiceMetric(), GlobalDice(threshold=0.3)])
    truth, image = batches[0]
    history = model.fit(image, truth, epochs=1, verbose=0).history
    assert {"dice", "global_dice"} <= set(history) and all(0 <= history[k][0] <= 1 for k in ("dice", "global_dice"))
    assert GlobalDice.from_config(GlobalDice(threshold=0.3).get_config()).threshold == 0.3


@pytest.mark.parametrize("task", METRICS)
def test_what_can_be_monitored_is_what_is_measured(task: Task) -> None:
    assert ["loss", *(metric.name for metric in make_metrics(task))] == list(METRICS[task])
