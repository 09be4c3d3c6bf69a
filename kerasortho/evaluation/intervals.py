"""How sure a score is: resampling whole groups (patients, studies), and Wilson's interval for a proportion.

Every score is a function of image weights: given ``weights`` (R, n), the number of times each of n images counts in
each of R data sets, it returns R values, NaN where undefined. Weights of one give the score itself; the weights of
resampled groups give its interval. So each score is written once, and its interval comes without a further definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]  # weights (R, n) float64 -> (R,) float64, NaN where undefined

CONFIDENCE = 0.95
FEWEST_GROUPS = 10
"""With fewer, a 95 % percentile interval holds the true value in less than 90 % of studies: it is too narrow by the
factor that Student's t and n - 1 stand for (Hesterberg 2015, The American Statistician 69:371, on narrowness bias)."""
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_CELLS = 200_000  # weights held at once: fits a processor's cache, and bounds the memory


class ClusterBootstrap:
    """Percentile intervals from resampling groups with replacement (Davison & Hinkley 1997, section 3.8).

    Images of one patient or study are alike; resampling images as if they were independent gives intervals that are
    too narrow. All scores of one instance are computed on the same resamples.
    """

    def __init__(self, groups: Sequence[str], *, resamples: int, seed: int = 0) -> None:
        """Draw the resamples: ``groups`` names the group of each of n images."""
        names, self._group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        self.images, self.groups, self.resamples = len(groups), len(names), resamples
        generator = np.random.default_rng(seed)
        chances = np.full(self.groups, 1 / max(self.groups, 1))
        self._counts = generator.multinomial(self.groups, chances, size=resamples) if self.groups > 1 else None

    def estimate(self, score: Score, reason: str) -> dict[str, Any]:
        """Return ``{"value", "low", "high"}``: the score and its 95 % interval.

        A score that is undefined on the images themselves has value None and the ``reason``. Resamples on which it is
        undefined (such as those with one class only) are left out and counted in "undefined_resamples". Without a
        second group there is no interval: low and high are None. What weakens an interval is a "remark", in words.
        """
        value = float(score(np.ones((1, self.images)))[0]) if self.images else math.nan
        if math.isnan(value):
            return {"value": None, "low": None, "high": None, "reason": reason}
        if self._counts is None or not self.resamples:
            return {"value": value, "low": None, "high": None, "reason": "an interval needs at least two groups"}
        values = np.concatenate([score(weights) for weights in self._weights(self._counts)])
        defined = values[np.isfinite(values)]
        result: dict[str, Any] = {"value": value, "low": None, "high": None}
        if defined.size:
            tail = 50 * (1 - CONFIDENCE)
            result["low"], result["high"] = (float(v) for v in np.percentile(defined, [tail, 100 - tail]))
        if defined.size < values.size:
            result["undefined_resamples"] = int(values.size - defined.size)
        remark = _remark(result, values.size)
        return {**result, "remark": remark} if remark else result

    def _weights(self, counts: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the image weights of all resamples, some resamples at a time."""
        step = max(1, _CELLS // max(self.images, 1))
        for start in range(0, self.resamples, step):
            yield counts[start : start + step, self._group_of].astype(np.float64)


def few_groups(groups: int, unit: str = "group") -> str | None:
    """Return what to say of intervals that rest on so few groups (see `FEWEST_GROUPS`); None where there are enough."""
    if groups >= FEWEST_GROUPS:
        return None
    if groups < 2:
        return f"only {groups} {unit}: no interval can be given"
    return f"only {groups} {unit}s: these intervals are not reliable (mostly too narrow below {FEWEST_GROUPS})"


def _remark(estimate: dict[str, Any], resamples: int) -> str:
    """Return, in plain words, why the interval of ``estimate`` says little; empty where it says what it should."""
    remarks = []
    if estimate["low"] is not None and estimate["low"] == estimate["high"]:
        remarks.append("no interval from groups: the same value whichever are drawn")
    if missing := estimate.get("undefined_resamples", 0) / resamples:
        share = "under 1 %" if missing < 0.01 else f"{100 * missing:.0f} %"
        remarks.append(f"too few images of a kind: no value in {share} of the random draws")
    return "; ".join(remarks)


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % score interval of a proportion (Wilson 1927, JASA 22:209), or None without trials.

    Unlike the bootstrap it stays informative at 0 % and 100 %; it takes the trials as independent.
    """
    if trials == 0:
        return None
    share = successes / trials
    scale = 1 + _Z**2 / trials
    centre = (share + _Z**2 / (2 * trials)) / scale
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def mean_score(values: np.ndarray, counted: np.ndarray | None = None) -> Score:
    """Return the mean of ``values`` (n,) over the images where ``counted`` (n,) is true; undefined over none."""
    chosen = np.ones(len(values), bool) if counted is None else np.asarray(counted, bool)
    return ratio_score(np.where(chosen, values, 0.0), chosen)


def ratio_score(numerator: np.ndarray, denominator: np.ndarray) -> Score:
    """Return sum(numerator) / sum(denominator) over images, both (n,); undefined where the denominator's sum is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)

    def score(weights: np.ndarray) -> np.ndarray:
        total = weights @ bottom
        return np.divide(weights @ top, total, out=np.full(len(weights), np.nan), where=total > 0)

    return score


def auc_score(positive: np.ndarray, values: np.ndarray) -> Score:
    """Return the area under the ROC curve of ``values`` (n,) for telling ``positive`` (n,) images from the others.

    It is the chance that a positive image has the greater value than a negative one, ties counting half (Hanley &
    McNeil 1982, Radiology 143:29). Undefined unless both kinds are there.
    """
    positive, values = np.asarray(positive, bool), np.asarray(values)
    positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
    negatives = negatives[np.argsort(values[negatives], kind="stable")]
    below = np.searchsorted(values[negatives], values[positives], side="left")  # negatives with a smaller value
    up_to = np.searchsorted(values[negatives], values[positives], side="right")  # ... smaller or equal

    def score(weights: np.ndarray) -> np.ndarray:
        hits = weights[:, positives]
        counted = np.zeros((len(weights), len(negatives) + 1))  # [:, k]: weight of the k smallest negatives
        np.cumsum(weights[:, negatives], axis=1, out=counted[:, 1:])
        wins = 0.5 * (hits * (counted[:, below] + counted[:, up_to])).sum(axis=1)
        pairs = hits.sum(axis=1) * counted[:, -1]
        return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)

    return score


def average_score(scores: Sequence[Score]) -> Score:
    """Return the plain mean of several scores; undefined where any of them is."""
    return lambda weights: np.mean([score(weights) for score in scores], axis=0)
