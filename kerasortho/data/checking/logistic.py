"""Logistic regression, and how well it tells two kinds of images apart in groups that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FOLDS = 5
_RESAMPLES = 300
_STEPS = 30
_TAIL = 2.5  # percent on each side of a 95 % interval


def fit_logistic(features: np.ndarray, positive: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Return (d + 1,) coefficients, the intercept last, that minimise the log-loss plus ridge / 2 * |coefficients|^2.

    Newton's method (iteratively reweighted least squares; Hastie, Tibshirani & Friedman 2009, section 4.4.1).

    Args:
        features: (n, d), standardised.
        positive: (n,) bool.
        ridge: penalty, without the intercept.
    """
    design = np.column_stack([features, np.ones(len(features))])
    penalty = np.diag([*([ridge] * features.shape[1]), 1e-9])
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (chance - positive) + penalty @ weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 5 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return weights


def unseen_scores(features: np.ndarray, positive: np.ndarray, groups: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return (n,) scores of each row from a regression that was fitted on other groups (five folds of groups).

    The features (n, d) and their squares are standardised on the rows that are fitted.
    """
    names, group_of = np.unique(np.asarray(groups, str), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names))[group_of] % _FOLDS
    scores = np.zeros(len(features))
    for number in range(_FOLDS):
        known, asked = fold != number, fold == number
        if not asked.any() or positive[known].all() or not positive[known].any():
            continue
        made = _with_squares(features, known)
        weights = fit_logistic(made[known], positive[known])
        scores[asked] = made[asked] @ weights[:-1] + weights[-1]
    return scores


def auc_interval(
    scores: np.ndarray, positive: np.ndarray, groups: Sequence[str], seed: int = 0
) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its 95 % interval from resampling groups."""
    names, group_of = np.unique(np.asarray(groups, str), return_inverse=True)
    random = np.random.default_rng(seed)
    values = []
    for _ in range(_RESAMPLES):
        drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)))
        values.append(auc(scores, positive, drawn[group_of]))
    low, high = np.nanpercentile(values, [_TAIL, 100 - _TAIL])
    return auc(scores, positive), float(low), float(high)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the chance that a positive row has the greater score, ties counting half; NaN without both kinds."""
    counts = np.ones(len(scores)) if weights is None else weights
    _, place = np.unique(scores, return_inverse=True)
    hits, others = np.bincount(place, counts * positive), np.bincount(place, counts * ~positive)
    pairs = hits.sum() * others.sum()
    return float((hits * (np.cumsum(others) - others / 2)).sum() / pairs) if pairs else float("nan")


def _with_squares(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return features and their squares, standardised on the ``known`` rows and kept within 5 standard deviations."""
    once = _standardised(features, known)
    return np.column_stack([once, _standardised(once**2, known)])


def _standardised(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    spread = features[known].std(axis=0)
    return np.clip((features - features[known].mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf), -5, 5)
