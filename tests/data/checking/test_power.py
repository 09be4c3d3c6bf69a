"""The width of intervals told before training is the width that the evaluation's own bootstrap then finds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from kerasortho.data.checking.balance import FEW_GROUPS
from kerasortho.data.checking.power import Expected, half_width, parse_expected, power_findings, usual_dice_spread
from kerasortho.data.inspection import Inspection, MaskFacts
from kerasortho.data.manifest import Manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.intervals import FEWEST_GROUPS, ClusterBootstrap, mean_score

EQUAL, UNLIKE = [3] * 40, [1] * 20 + [2] * 20 + [4] * 15 + [10] * 6


def bootstrap_half_width(draw: Callable[[np.random.Generator, np.ndarray], np.ndarray], sizes: list[int]) -> float:
    """The mean half-width of the bootstrap's interval over drawn test splits."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    widths = []
    for seed in range(40):
        values = draw(np.random.default_rng(seed), group)
        result = ClusterBootstrap([str(g) for g in group], resamples=300, seed=seed).estimate(mean_score(values), "")
        widths.append((result["high"] - result["low"]) / 2)
    return float(np.mean(widths))


@pytest.mark.parametrize("sizes", [EQUAL, UNLIKE])
@pytest.mark.parametrize("icc", [0.0, 0.25, 0.6])
def test_half_width_of_a_mean_is_the_bootstraps(sizes: list[int], icc: float) -> None:
    def draw(random: np.random.Generator, group: np.ndarray) -> np.ndarray:
        shared = random.normal(0, math.sqrt(icc), group.max() + 1)[group]
        return 0.8 + 0.1 * (shared + random.normal(0, math.sqrt(1 - icc), len(group)))

    assert bootstrap_half_width(draw, sizes) == pytest.approx(half_width(sizes, 0.1, icc), rel=0.08)


@pytest.mark.parametrize("sizes", [EQUAL, UNLIKE])
def test_half_width_of_an_accuracy_is_the_bootstraps(sizes: list[int]) -> None:
    accuracy, icc = 0.85, 0.25
    strength = 1 / icc - 1  # of the beta distribution of each group's own accuracy

    def draw(random: np.random.Generator, group: np.ndarray) -> np.ndarray:
        chance = random.beta(accuracy * strength, (1 - accuracy) * strength, group.max() + 1)[group]
        return (random.random(len(group)) < chance).astype(float)

    told = half_width(sizes, math.sqrt(accuracy * (1 - accuracy)), icc)
    assert bootstrap_half_width(draw, sizes) == pytest.approx(told, rel=0.1)


def test_the_issues_example() -> None:
    sizes = [2] * 21 + [1] * 19  # 61 images in 40 groups
    assert half_width(sizes, 0.24, 0.0) == pytest.approx(0.060, abs=0.001)
    assert half_width(sizes, 0.24, 0.25) == pytest.approx(0.065, abs=0.002)


def test_spread_is_that_of_the_measured_models() -> None:
    for dice, low, high in [(0.28, 0.29, 0.32), (0.86, 0.087, 0.110), (0.917, 0.080, 0.101)]:
        assert low <= usual_dice_spread(dice) <= high
    assert usual_dice_spread(0) == usual_dice_spread(1) == 0


def test_findings_tell_dice_accuracy_and_each_class(table: Callable[..., Manifest]) -> None:
    labels = ["hand"] * 50 + ["hip"] * 10
    manifest = table(
        image=[f"{i}.png" for i in range(62)],
        label=[*labels, "hand", "hand"],
        group=[f"g{i // 2}" for i in range(62)],
        split=["test"] * 60 + ["train"] * 2,
    )
    marked, empty = MaskFacts((9, 9), (0, 255), 0.1, "a"), MaskFacts((9, 9), (0,), 0.0, "b")
    inspections = [Inspection(mask=marked if i < 40 else empty) for i in range(62)]
    findings = {f.kind: f for f in power_findings(manifest, inspections, Expected(dice=0.4, accuracy=0.9, icc=0))}
    told = [(case.names[0], case.detail) for case in findings["test_interval"].cases]
    assert [name for name, _ in told] == ["test", "test", "test, class hand", "test, class hip"]
    assert told[0][1].startswith(
        "40 images in 20 groups: with something marked, a Dice of 0.4 (spread between images 0.31)"
    )
    assert (
        "60 images in 30 groups: an accuracy of 0.9 gets +-0.076; +-0.02 needs about 870 images in 440 groups"
        in told[1]
    )
    assert "5 groups: an accuracy" in told[3][1] and "not reliable" in told[3][1]
    assert [case.names[0] for case in findings["test_interval_wide"].cases] == ["test, class hip"]


def test_no_test_split_no_power(table: Callable[..., Manifest]) -> None:
    manifest = table(image=["a.png"], label=["hand"])
    assert not any(finding.cases for finding in power_findings(manifest, [Inspection()]))


@pytest.mark.parametrize("setting", ["dise=0.9", "dice", "dice=1.5", "icc=nan", "dice=much"])
def test_wrong_expectations_are_refused(setting: str) -> None:
    with pytest.raises(KerasOrthoError, match="--expect"):
        parse_expected([setting])


def test_few_groups_are_as_few_as_in_the_evaluation() -> None:
    assert FEW_GROUPS == FEWEST_GROUPS


def test_expectations() -> None:
    assert parse_expected(["dice=0.38", "dice-sd=0.24"]) == Expected(dice=0.38, dice_sd=0.24)
