"""Segmentation scores: against scikit-learn, ignored pixels, empty masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from kerasortho.evaluation.intervals import ClusterBootstrap
from kerasortho.evaluation.segmentation import PixelScores, score_image, summarise


def scored(*pairs: tuple[list[int], list[float]]) -> list[PixelScores]:
    return [score_image(np.array([p], np.float32), np.array([y], np.uint8), None, 0.5) for y, p in pairs]


def summary(scores: list[PixelScores]) -> dict:
    return summarise(scores, ClusterBootstrap([str(i) for i in range(len(scores))], resamples=50))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000), st.sampled_from([0.3, 0.5, 0.7]))
def test_scores_of_one_image_equal_scikit_learn(height: int, width: int, seed: int, threshold: float) -> None:
    generator = np.random.default_rng(seed)
    probability = generator.uniform(0.01, 0.99, (height, width)).astype(np.float32)
    truth = generator.integers(0, 2, (height, width)).astype(np.uint8)
    ignore = generator.integers(0, 2, (height, width)).astype(np.uint8)
    score = score_image(probability, truth, ignore, threshold)
    y, p = truth[ignore == 0], probability[ignore == 0]
    marked = p >= np.float32(threshold)
    assert score.counted == y.size
    if not y.size:
        assert score.bce is None and score.dice is None
        return
    assert score.bce == pytest.approx(sk.log_loss(y, p.astype(np.float64), labels=[0, 1]), abs=1e-6)
    if not y.any():
        assert (score.dice, score.iou, score.recall, score.precision) == (None, None, None, None)
        return
    assert score.dice == pytest.approx(sk.f1_score(y, marked))
    assert score.iou == pytest.approx(sk.jaccard_score(y, marked))
    assert score.recall == pytest.approx(sk.recall_score(y, marked))
    assert score.precision == (pytest.approx(sk.precision_score(y, marked)) if marked.any() else None)


def test_ignored_pixels_change_nothing() -> None:
    generator = np.random.default_rng(0)
    probability, truth = generator.uniform(size=(9, 7)).astype(np.float32), generator.integers(0, 2, (9, 7))
    ignore = np.zeros((9, 7), np.uint8)
    ignore[:4] = 255
    before = score_image(probability, truth, ignore, 0.5)
    probability[:4], truth[:4] = 1 - probability[:4], 1 - truth[:4]
    assert score_image(probability, truth, ignore, 0.5) == before


def test_empty_images_do_not_enter_the_mean_and_a_missed_one_counts_zero() -> None:
    result = summary(scored(
        ([1, 1, 0, 0], [0.9, 0.9, 0.1, 0.1]),  # found: 1
        ([1, 1, 0, 0], [0.1, 0.1, 0.1, 0.1]),  # missed: 0
        ([0, 0, 0, 0], [0.1, 0.1, 0.1, 0.1]),  # nothing there, nothing marked
        ([0, 0, 0, 0], [0.6, 0.1, 0.1, 0.1]),  # false alarm over a quarter
    ))  # fmt: skip
    metrics, empty = result["metrics"], result["images_without_foreground"]
    assert metrics["dice"]["value"] == 0.5
    assert metrics["precision"]["value"] == 1.0  # undefined, so left out, where nothing is marked
    assert metrics["pooled_dice"]["value"] == pytest.approx(2 * 2 / (4 + 3))
    assert result["images_with_foreground"] == {"images": 2, "missed_entirely": 1}
    assert (empty["images"], empty["with_predicted_foreground"], empty["false_positive_pixels"]) == (2, 1, 1)
    assert empty["false_positive_area_fraction"]["value"] == pytest.approx(0.125)
    assert metrics["image_roc_auc"]["value"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert "do not enter" in result["policy"]


def test_only_empty_images_leave_dice_undefined_and_say_why() -> None:
    result = summary(scored(([0, 0], [0.9, 0.1]), ([0, 0], [0.1, 0.1])))
    assert result["metrics"]["dice"] == {"value": None, "low": None, "high": None, "reason": "no image has foreground"}
    assert result["metrics"]["image_roc_auc"]["reason"] == "no image has foreground"
    assert result["metrics"]["pooled_dice"]["value"] == 0.0
    json.dumps(result, allow_nan=False)


def test_nothing_there_and_nothing_marked_is_undefined_not_perfect() -> None:
    result = summary(scored(([0, 0], [0.1, 0.1]), ([0, 0], [0.1, 0.1])))
    assert result["metrics"]["pooled_dice"]["value"] is None
    json.dumps(result, allow_nan=False)


def test_an_image_with_every_pixel_ignored_enters_nothing() -> None:
    ignored = score_image(np.ones((2, 2), np.float32), np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8), 0.5)
    result = summary([ignored, *scored(([1, 0], [0.9, 0.1]), ([1, 0], [0.9, 0.1]))])
    assert result["images_entirely_ignored"] == 1
    assert result["images_without_foreground"]["images"] == 0
    assert result["metrics"]["dice"]["value"] == 1.0
    json.dumps(summary([ignored, ignored]), allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20))
def test_dice_and_iou_stay_tied_together(counts: list[tuple[int, int, int]]) -> None:
    for hits, alarms, misses in counts:
        score = PixelScores(200, hits, alarms, misses, 0.1, 0.9)
        if score.truth:
            assert score.dice is not None and score.iou is not None
            assert score.dice == pytest.approx(2 * score.iou / (1 + score.iou))
