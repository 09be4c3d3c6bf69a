"""Classification scores against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from kerasortho.evaluation.classification import confusion_matrix, roc_curve, summarise
from kerasortho.evaluation.intervals import ClusterBootstrap


def judged(classes: int, images: int, seed: int, steps: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and coarse probabilities (many ties), every class there."""
    generator = np.random.default_rng(seed)
    truth = np.r_[np.arange(classes), generator.integers(classes, size=images - classes)]
    scores = generator.integers(1, steps, size=(images, classes)) + 5 * np.eye(classes, dtype=int)[truth]
    return truth, scores / scores.sum(axis=1, keepdims=True)


def summary(truth: np.ndarray, probabilities: np.ndarray, resamples: int = 50) -> dict:
    names = [f"c{i}" for i in range(probabilities.shape[1])]
    groups = [str(i // 2) for i in range(len(truth))]
    return summarise(truth, probabilities, names, ClusterBootstrap(groups, resamples=resamples))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 5), st.integers(6, 60), st.integers(0, 10_000))
def test_scores_equal_scikit_learn(classes: int, images: int, seed: int) -> None:
    truth, probabilities = judged(classes, images, seed)
    predicted = probabilities.argmax(axis=1)
    result = summary(truth, probabilities, resamples=0)
    value = {name: score["value"] for name, score in result["metrics"].items()}
    auc = (
        sk.roc_auc_score(truth, probabilities[:, 1])
        if classes == 2
        else sk.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    )
    brier = np.mean(((probabilities - np.eye(classes)[truth]) ** 2).sum(axis=1))
    assert value["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert value["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    assert value["log_loss"] == pytest.approx(sk.log_loss(truth, probabilities))
    assert value["roc_auc"] == pytest.approx(auc)
    assert value["brier"] == pytest.approx(brier)
    assert result["confusion_matrix"]["true_by_row"] == sk.confusion_matrix(truth, predicted).tolist()
    for index, scores in enumerate(result["classes"].values()):
        of_class, called = truth == index, predicted == index
        assert scores["sensitivity"]["value"] == pytest.approx(sk.recall_score(of_class, called, zero_division=0))
        assert scores["specificity"]["value"] == pytest.approx(sk.recall_score(~of_class, ~called, zero_division=0))
        assert scores["roc_auc"]["value"] == pytest.approx(sk.roc_auc_score(of_class, probabilities[:, index]))


def test_brier_of_two_classes_is_twice_that_of_scikit_learn() -> None:
    truth, probabilities = judged(2, 30, 1)
    assert summary(truth, probabilities)["metrics"]["brier"]["value"] == pytest.approx(
        2 * sk.brier_score_loss(truth, probabilities[:, 1])
    )


def test_a_single_class_leaves_what_needs_two_undefined_and_says_why() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    result = summary(np.zeros(3, int), probabilities)
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert result["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None, "reason": "no image of c1"}
    assert result["metrics"]["balanced_accuracy"]["reason"] == "no image of c1"
    assert result["classes"]["c0"]["specificity"]["reason"] == "no image but of c0"
    assert result["classes"]["c1"]["sensitivity"]["value"] is None
    assert result["classes"]["c1"]["sensitivity"]["wilson"] is None
    json.dumps(result, allow_nan=False)


def test_certain_errors_cost_a_finite_loss() -> None:
    result = summary(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert result["metrics"]["log_loss"]["value"] == pytest.approx(-np.log(1e-7) / 2)
    json.dumps(result, allow_nan=False)


def test_proportions_carry_counts_and_wilson_intervals() -> None:
    truth, probabilities = np.r_[np.zeros(150, int), np.ones(149, int)], np.eye(2)[[0] * 150 + [1] * 149]
    accuracy = summary(truth, probabilities)["metrics"]["accuracy"]
    assert (accuracy["count"], accuracy["of"], accuracy["low"], accuracy["high"]) == (299, 299, 1.0, 1.0)
    assert accuracy["wilson"] == pytest.approx([0.98731, 1.0], abs=1e-5)


def test_confusion_matrix_has_truth_by_row() -> None:
    assert confusion_matrix(np.array([0, 0, 2]), np.array([1, 0, 2]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@settings(deadline=None)
@given(st.integers(2, 50), st.integers(0, 1000))
def test_roc_curve_passes_through_scikit_learns(images: int, seed: int) -> None:
    truth, probabilities = judged(2, images, seed, steps=4)
    alarms, hits = roc_curve(truth == 1, probabilities[:, 1])
    expected = sk.roc_curve(truth, probabilities[:, 1], drop_intermediate=False)
    assert alarms == pytest.approx(expected[0])
    assert hits == pytest.approx(expected[1])
