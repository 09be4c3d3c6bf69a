"""Intervals: known values, agreement with scikit-learn, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from kerasortho.evaluation.intervals import (
    FEWEST_GROUPS,
    ClusterBootstrap,
    auc_score,
    few_groups,
    mean_score,
    ratio_score,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (299, 299, 0.98731, 1.0),
        (1495, 1500, 0.99222, 0.99858),
        (0, 10, 0.0, 0.27753),
        (15, 148, 0.0624, 0.1605),  # Newcombe 1998, Statistics in Medicine 17:857, table I
        (81, 263, 0.2553, 0.3662),  # the same table
    ],
)
def test_wilson_gives_known_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-5)


def test_wilson_without_trials_is_none() -> None:
    assert wilson(0, 0) is None


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_mirrors(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = wilson(successes, trials) or (np.nan, np.nan)
    assert 0 <= low <= successes / trials <= high <= 1
    assert wilson(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40))
def test_weighted_auc_equals_scikit_learn_with_ties(cases: list[tuple[bool, int, int]]) -> None:
    positive, values, weights = (np.array(column) for column in zip(*cases, strict=True))
    value = auc_score(positive, values / 4)(weights[None].astype(float))[0]
    kinds = {bool(p) for p, w in zip(positive, weights, strict=True) if w}
    if len(kinds) < 2:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(roc_auc_score(positive, values, sample_weight=weights), abs=1e-12)


def test_the_value_is_the_plain_score_and_lies_in_its_interval() -> None:
    values = np.random.default_rng(1).uniform(size=60)
    bootstrap = ClusterBootstrap([f"p{i // 3}" for i in range(60)], resamples=500)
    estimate = bootstrap.estimate(mean_score(values), "no image")
    assert (bootstrap.images, bootstrap.groups) == (60, 20)
    assert estimate["value"] == pytest.approx(values.mean())
    assert estimate["low"] < estimate["value"] < estimate["high"]
    assert "undefined_resamples" not in estimate


def test_the_interval_has_the_width_that_theory_gives() -> None:
    """With one image a group, a mean's interval is the mean +- 1.96 standard errors."""
    values = np.random.default_rng(2).normal(size=400)
    estimate = ClusterBootstrap([str(i) for i in range(400)], resamples=4000).estimate(mean_score(values), "")
    error = values.std() / np.sqrt(400)
    assert estimate["low"] == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert estimate["high"] == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_images_that_repeat_their_group_do_not_narrow_the_interval() -> None:
    """Ten copies of every image are no further evidence; resampling images would narrow the interval threefold."""
    values = np.random.default_rng(3).uniform(size=50)
    alone = ClusterBootstrap([str(i) for i in range(50)], resamples=500, seed=5)
    copied = ClusterBootstrap([str(i) for i in range(50) for _ in range(10)], resamples=500, seed=5)
    once, ten = alone.estimate(mean_score(values), ""), copied.estimate(mean_score(np.repeat(values, 10)), "")
    assert ten["low"] == pytest.approx(once["low"], abs=0.02)
    assert ten["high"] == pytest.approx(once["high"], abs=0.02)


def test_the_same_seed_gives_the_same_interval_whatever_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).uniform(size=30)
    groups = [str(i // 2) for i in range(30)]
    first = ClusterBootstrap(groups, resamples=300, seed=7).estimate(mean_score(values), "")
    monkeypatch.setattr("kerasortho.evaluation.intervals._CELLS", 100)
    assert ClusterBootstrap(groups, resamples=300, seed=7).estimate(mean_score(values), "") == first
    assert ClusterBootstrap(groups, resamples=300, seed=8).estimate(mean_score(values), "") != first


def test_resamples_without_both_classes_are_left_out_and_counted() -> None:
    positive = np.array([True, False, False, False])
    estimate = ClusterBootstrap(list("abcd"), resamples=1000).estimate(auc_score(positive, np.array([4, 3, 2, 1])), "")
    chance = (3 / 4) ** 4 + (1 / 4) ** 4  # without a, or a alone
    assert estimate["undefined_resamples"] / 1000 == pytest.approx(chance, abs=0.05)
    assert (estimate["value"], estimate["low"], estimate["high"]) == (1.0, 1.0, 1.0)
    share = round(100 * estimate["undefined_resamples"] / 1000)
    assert estimate["remark"] == (
        "no interval from groups: the same value whichever are drawn; "
        f"too few images of a kind: no value in {share} % of the random draws"
    )


def test_the_fewest_groups_are_those_that_still_cover_nine_of_ten() -> None:
    """A percentile interval of a mean is about mean +- 1.96 sqrt((n - 1) / n) s / sqrt(n)."""
    coverage = {n: 1 - 2 * t.sf(1.96 * np.sqrt((n - 1) / n), n - 1) for n in (FEWEST_GROUPS - 1, FEWEST_GROUPS)}
    assert coverage[FEWEST_GROUPS - 1] < 0.9 < coverage[FEWEST_GROUPS]
    assert few_groups(FEWEST_GROUPS) is None
    assert few_groups(4).startswith("only 4 groups: these intervals are not reliable")
    assert few_groups(1, "image") == "only 1 image: no interval can be given"


def test_an_undefined_score_is_none_with_its_reason() -> None:
    bootstrap = ClusterBootstrap(list("aabb"), resamples=10)
    score = auc_score(np.ones(4, bool), np.arange(4.0))
    assert bootstrap.estimate(score, "no other class") == {
        "value": None, "low": None, "high": None, "reason": "no other class"
    }  # fmt: skip


@pytest.mark.parametrize("groups", [[], ["a"], ["a", "a"]])
def test_no_interval_without_a_second_group(groups: list[str]) -> None:
    estimate = ClusterBootstrap(groups, resamples=10).estimate(mean_score(np.ones(len(groups))), "no image")
    assert (estimate["value"], estimate["low"]) == (1.0 if groups else None, None)


def test_a_ratio_pools_numerators_and_denominators() -> None:
    score = ratio_score(np.array([1.0, 9.0]), np.array([2.0, 10.0]))
    assert score(np.array([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]])) == pytest.approx([10 / 12, 0.9, np.nan], nan_ok=True)
