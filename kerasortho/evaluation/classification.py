"""How well images are told apart: the scores of a classifier, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasortho.evaluation.intervals import (
    ClusterBootstrap,
    Score,
    auc_score,
    average_score,
    mean_score,
    wilson,
)

SMALLEST_PROBABILITY = 1e-7  # as in Keras: a certain error costs 16, not infinity


def summarise(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], bootstrap: ClusterBootstrap
) -> dict[str, Any]:
    """Return all scores of a classifier as plain data for JSON.

    Args:
        truth: (n,) int, index of the true class.
        probabilities: (n, C) float in [0, 1], rows summing to 1.
        classes: the C class names.
        bootstrap: the resamples of the same n images.

    "metrics" holds the overall scores, "classes" those of each class against the others, "confusion_matrix" the
    counts, true class by row and predicted class by column.
    """
    predicted = probabilities.argmax(axis=1)
    correct = predicted == truth
    confusion = confusion_matrix(truth, predicted, len(classes))
    absent = [name for name, count in zip(classes, confusion.sum(axis=1), strict=True) if count == 0]
    lacking = f"no image of {', '.join(absent)}" if absent else "no image"
    estimate = bootstrap.estimate
    metrics = {
        "accuracy": _with_wilson(estimate(mean_score(correct), "no image"), correct),
        "balanced_accuracy": estimate(balanced_accuracy(truth, predicted, len(classes)), lacking),
        "roc_auc": estimate(roc_auc(truth, probabilities), lacking),
        "log_loss": estimate(mean_score(log_losses(truth, probabilities)), "no image"),
        "brier": estimate(mean_score(brier_scores(truth, probabilities)), "no image"),
    }
    by_class = {
        name: _one_class(truth == index, predicted == index, probabilities[:, index], name, bootstrap)
        for index, name in enumerate(classes)
    }
    matrix = {"classes": list(classes), "true_by_row": confusion.tolist()}
    return {"metrics": metrics, "classes": by_class, "confusion_matrix": matrix}


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return (C, C) int counts: true class by row, predicted class by column."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Score:
    """Return the mean sensitivity of the classes; undefined where a class has no image."""
    return average_score([mean_score(predicted == truth, truth == index) for index in range(classes)])


def roc_auc(truth: np.ndarray, probabilities: np.ndarray) -> Score:
    """Return the area under the ROC curve: of the second of two classes; of more, the mean of each against the rest."""
    classes = probabilities.shape[1]
    judged = [1] if classes == 2 else range(classes)
    return average_score([auc_score(truth == index, probabilities[:, index]) for index in judged])


def log_losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (n,) cross-entropy in nats: minus the logarithm of the true class's probability."""
    chosen = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0].astype(np.float64)
    return -np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0))


def brier_scores(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return (n,) squared distances between probabilities and truth, summed over the classes: 0 to 2 (Brier 1950)."""
    return ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)


def roc_curve(positive: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates, (0, 0) to (1, 1), a point for each distinct value of (n,) ``values``."""
    order = np.argsort(-values, kind="stable")
    last_of_tie = np.r_[values[order][1:] != values[order][:-1], True]
    hits = np.cumsum(positive[order])[last_of_tie]
    alarms = np.cumsum(~positive[order])[last_of_tie]
    return np.r_[0, alarms] / max(alarms[-1], 1), np.r_[0, hits] / max(hits[-1], 1)


def _one_class(
    positive: np.ndarray, called: np.ndarray, probability: np.ndarray, name: str, bootstrap: ClusterBootstrap
) -> dict[str, Any]:
    """Return sensitivity, specificity and the area under the ROC curve of one class against the others."""
    of_class, of_others = f"no image of {name}", f"no image but of {name}"
    one_sided = of_class if not positive.any() else of_others
    return {
        "images": int(positive.sum()),
        "sensitivity": _with_wilson(bootstrap.estimate(mean_score(called, positive), of_class), called[positive]),
        "specificity": _with_wilson(bootstrap.estimate(mean_score(~called, ~positive), of_others), ~called[~positive]),
        "roc_auc": bootstrap.estimate(auc_score(positive, probability), one_sided),
    }


def _with_wilson(estimate: dict[str, Any], successes: np.ndarray) -> dict[str, Any]:
    interval = wilson(int(successes.sum()), len(successes))
    return {**estimate, "count": int(successes.sum()), "of": len(successes), "wilson": interval and list(interval)}
