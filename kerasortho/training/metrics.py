"""Dice while training, on thresholded predictions. The numbers to report come from the evaluation, not from here."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class GlobalDice(keras.metrics.Metric):
    """Dice of all counted pixels of all images together: 2 |P and Y| / (|P| + |Y|).

    Takes truth ``(B, H, W, 2)`` (mask, weight) and predictions ``(B, H, W, 1)`` sigmoid or ``(B, H, W, 2)`` softmax.
    Pixels of weight 0 do not count, all others count alike. 0 before any foreground was seen or predicted.
    """

    def __init__(self, threshold: float = 0.5, name: str = "global_dice", **kwargs: Any) -> None:
        """Set the probability from which a pixel is foreground."""
        super().__init__(name=name, **kwargs)
        self.threshold = threshold
        self.overlap = self.add_weight(name="overlap", initializer="zeros", dtype="float32")
        self.area = self.add_weight(name="area", initializer="zeros", dtype="float32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch. ``sample_weight`` is ignored: weights come with the truth."""
        overlap, area, _ = _image_areas(y_true, y_pred, self.threshold)
        self.overlap.assign_add(ops.sum(overlap))
        self.area.assign_add(ops.sum(area))

    def result(self) -> Any:
        """Return the Dice coefficient so far, in [0, 1]."""
        return ops.divide_no_nan(2.0 * self.overlap, self.area)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the metric."""
        return {**super().get_config(), "threshold": self.threshold}


class DiceMetric(keras.metrics.Metric):
    """Mean Dice of the images whose counted truth is not empty; images without foreground are left out.

    Shapes as for `GlobalDice`. 0 before any image with foreground was seen.
    """

    def __init__(self, threshold: float = 0.5, name: str = "dice", **kwargs: Any) -> None:
        """Set the probability from which a pixel is foreground."""
        super().__init__(name=name, **kwargs)
        self.threshold = threshold
        self.total = self.add_weight(name="total", initializer="zeros", dtype="float32")
        self.images = self.add_weight(name="images", initializer="zeros", dtype="float32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch. ``sample_weight`` is ignored: weights come with the truth."""
        overlap, area, truth = _image_areas(y_true, y_pred, self.threshold)
        present = ops.cast(truth > 0, "float32")
        self.total.assign_add(ops.sum(present * ops.divide_no_nan(2.0 * overlap, area)))
        self.images.assign_add(ops.sum(present))

    def result(self) -> Any:
        """Return the mean Dice coefficient so far, in [0, 1]."""
        return ops.divide_no_nan(self.total, self.images)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the metric."""
        return {**super().get_config(), "threshold": self.threshold}


def _image_areas(y_true: Any, y_pred: Any, threshold: float) -> tuple[Any, Any, Any]:
    """Return overlap, sum of both areas and area of the truth, each ``(B,)`` float32 in counted pixels."""
    counted = ops.cast(y_true[..., 1] > 0, "float32")
    truth = ops.cast(y_true[..., 0] > 0.5, "float32") * counted
    found = ops.cast(y_pred[..., -1] >= threshold, "float32") * counted
    truth_area = ops.sum(truth, axis=(1, 2))
    return ops.sum(truth * found, axis=(1, 2)), truth_area + ops.sum(found, axis=(1, 2)), truth_area
