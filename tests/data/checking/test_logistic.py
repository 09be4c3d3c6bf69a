"""The regression and the AUC are scikit-learn's; the interval holds the truth; groups are never seen and asked."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from kerasortho.data.checking.logistic import auc, auc_interval, fit_logistic, unseen_scores


def drawn(seed: int, shift: float, count: int = 400) -> tuple[np.ndarray, np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.3
    features = random.normal(size=(count, 4))
    features[:, 1] += shift * positive
    return features, positive, [str(number // 4) for number in range(count)]


@pytest.mark.parametrize("ridge", [0.1, 1.0, 20.0])
def test_coefficients_are_scikit_learns(ridge: float) -> None:
    features, positive, _ = drawn(0, 1.0)
    expected = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=1000).fit(features, positive)
    np.testing.assert_allclose(fit_logistic(features, positive, ridge)[:-1], expected.coef_[0], atol=1e-5)
    assert fit_logistic(features, positive, ridge)[-1] == pytest.approx(expected.intercept_[0], abs=1e-5)


def test_separable_kinds_do_not_run_away() -> None:
    features = np.linspace(-1, 1, 50)[:, None]
    weights = fit_logistic(features, features[:, 0] > 0, 1e-3)
    assert np.isfinite(weights).all() and weights[0] > 5


def test_auc_is_scikit_learns_with_ties_and_weights() -> None:
    random = np.random.default_rng(1)
    scores, positive, weights = random.integers(0, 8, 200), random.random(200) < 0.4, random.integers(0, 4, 200)
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert auc(scores, positive, weights) == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
    assert np.isnan(auc(scores, np.ones(200, bool)))


def test_what_differs_is_told_and_what_does_not_is_not() -> None:
    for shift, low, high in [(1.5, 0.75, 0.95), (0.0, 0.35, 0.65)]:
        features, positive, groups = drawn(3, shift)
        value, below, above = auc_interval(unseen_scores(features, positive, groups), positive, groups)
        assert low < value < high and below < value < above


def test_a_groups_own_mark_tells_nothing_of_others() -> None:
    """Each group has a feature of its own and one kind: seen groups would be told at once, unseen ones cannot."""
    random = np.random.default_rng(5)
    group = np.repeat(np.arange(40), 10)
    features = random.normal(size=(40, 12))[group] + 0.01 * random.normal(size=(400, 12))
    positive = (random.random(40) < 0.5)[group]
    names = [str(number) for number in group]
    _, low, high = auc_interval(unseen_scores(features, positive, names), positive, names)
    assert low < 0.5 < high
    images = [str(number) for number in range(400)]
    assert auc(unseen_scores(features, positive, images), positive) > 0.75
