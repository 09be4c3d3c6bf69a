"""How well pixels are marked: the scores of a segmentation at each image's own size, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasortho.evaluation.intervals import ClusterBootstrap, auc_score, mean_score, ratio_score, wilson

SMALLEST_PROBABILITY = 1e-7  # as in Keras: a certain error costs 16, not infinity

POLICY = (
    "Scores are taken at each image's own size; pixels of the ignore mask count nowhere. Dice, IoU, precision and "
    "recall are means over the images that have foreground; an image whose foreground is missed entirely counts as 0 "
    "(where nothing is predicted, precision is undefined and left out). Images without foreground do not enter these "
    "means: for them, the share with any predicted foreground and the falsely marked area are reported. Pooled scores "
    "add up the pixels of all images."
)


@dataclass(frozen=True)
class PixelScores:
    """The scores of one image; None where undefined. Counts are of pixels that are not ignored."""

    counted: int
    true_positive: int
    false_positive: int
    false_negative: int
    bce: float | None  # mean binary cross-entropy in nats
    max_probability: float | None

    @property
    def truth(self) -> int:
        """Pixels of true foreground."""
        return self.true_positive + self.false_negative

    @property
    def marked(self) -> int:
        """Pixels of predicted foreground."""
        return self.true_positive + self.false_positive

    @property
    def dice(self) -> float | None:
        """2 TP / (2 TP + FP + FN) (Dice 1945); None without true foreground."""
        return 2 * self.true_positive / (self.truth + self.marked) if self.truth else None

    @property
    def iou(self) -> float | None:
        """TP / (TP + FP + FN) (Jaccard 1912); None without true foreground."""
        return self.true_positive / (self.truth + self.false_positive) if self.truth else None

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP); None without true or without predicted foreground."""
        return self.true_positive / self.marked if self.truth and self.marked else None

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN); None without true foreground."""
        return self.true_positive / self.truth if self.truth else None


def score_image(probability: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None, threshold: float) -> PixelScores:
    """Score ``probability`` (H, W) float in [0, 1] against ``truth`` (H, W) of {0, 1}.

    Pixels where ``ignore`` (H, W) is not 0 are left out. A pixel is marked from probability ``threshold`` on.
    """
    counted = np.ones(truth.shape, bool) if ignore is None else ignore == 0
    p, y = probability[counted].astype(np.float64), truth[counted] != 0
    if not p.size:
        return PixelScores(0, 0, 0, 0, None, None)
    marked = p >= np.float32(threshold)
    hits, called, real = (int(np.count_nonzero(m)) for m in (marked & y, marked, y))
    p_truth = np.clip(np.where(y, p, 1 - p), SMALLEST_PROBABILITY, 1.0)
    return PixelScores(p.size, hits, called - hits, real - hits, float(-np.log(p_truth).mean()), float(p.max()))


def summarise(scores: Sequence[PixelScores], bootstrap: ClusterBootstrap) -> dict[str, Any]:
    """Return all scores of a segmentation as plain data for JSON; ``bootstrap`` resamples the same n images."""
    counted, hits, truth, marked = (
        np.array([getattr(s, name) for s in scores], np.float64)
        for name in ("counted", "true_positive", "truth", "marked")
    )
    filled, empty = truth > 0, (truth == 0) & (counted > 0)
    none_filled, none_empty = "no image has foreground", "every image has foreground"
    estimate = bootstrap.estimate
    metrics = {
        name: estimate(mean_score(*_defined(scores, name)), none_filled)
        for name in ("dice", "iou", "precision", "recall")
    }
    metrics["pooled_dice"] = estimate(ratio_score(2 * hits, truth + marked), "no foreground, true or predicted")
    metrics["pooled_iou"] = estimate(ratio_score(hits, truth + marked - hits), "no foreground, true or predicted")
    metrics["bce"] = estimate(mean_score(*_defined(scores, "bce")), "no image")
    highest, _ = _defined(scores, "max_probability")
    one_kind = none_filled if not filled.any() else none_empty
    seen = (filled | empty).nonzero()[0]  # images with nothing but ignored pixels have no probability
    metrics["image_roc_auc"] = {
        **estimate(_on(seen, auc_score(filled[seen], highest[seen])), one_kind),
        "score": "highest probability of a counted pixel; tells images with from images without foreground",
    }
    return {
        "policy": POLICY,
        "metrics": metrics,
        "images_with_foreground": _filled_images(filled, hits),
        "images_without_foreground": _empty_images(empty, marked, counted, bootstrap),
        "images_entirely_ignored": int((counted == 0).sum()),
    }


def _filled_images(filled: np.ndarray, hits: np.ndarray) -> dict[str, Any]:
    return {"images": int(filled.sum()), "missed_entirely": int((filled & (hits == 0)).sum())}


def _empty_images(
    empty: np.ndarray, marked: np.ndarray, counted: np.ndarray, bootstrap: ClusterBootstrap
) -> dict[str, Any]:
    """Return what was marked where nothing is: how many images, and how much of their area."""
    alarms = int((empty & (marked > 0)).sum())
    interval = wilson(alarms, int(empty.sum()))
    area = np.divide(marked, counted, out=np.zeros_like(marked), where=counted > 0)
    reason = "every image has foreground"
    return {
        "images": int(empty.sum()),
        "with_predicted_foreground": alarms,
        "share_with_predicted_foreground": {
            **bootstrap.estimate(mean_score(marked > 0, empty), reason), "wilson": interval and list(interval)
        },
        "false_positive_area_fraction": bootstrap.estimate(mean_score(area, empty), reason),
        "false_positive_pixels": int(marked[empty].sum()),
    }  # fmt: skip


def _defined(scores: Sequence[PixelScores], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (n,) of one score, 0 where undefined, and where it is defined."""
    values = [getattr(score, name) for score in scores]
    return np.array([v or 0.0 for v in values], np.float64), np.array([v is not None for v in values], bool)


def _on(chosen: np.ndarray, score: Any) -> Any:
    """Return ``score``, made for the ``chosen`` images only, as a score of all images."""
    return lambda weights: score(weights[:, chosen])
