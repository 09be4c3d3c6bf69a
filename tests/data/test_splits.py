"""Splits: no group crosses, classes and shares are near their targets, the same input gives the same split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from kerasortho.data.grouping import Grouping
from kerasortho.data.manifest import Manifest
from kerasortho.data.splits import assign, crossing_groups, refuse_leak, split_columns, wanted_parts
from kerasortho.errors import KerasOrthoError

Table = Callable[..., Manifest]


def study(seed: int, groups: int, classes: int = 3) -> tuple[list[str], list[str]]:
    """Groups of 1 to 6 images; mostly, but not always, of one class."""
    rng = np.random.default_rng(seed)
    names, labels = [], []
    for group in range(groups):
        main = rng.integers(classes)
        for _ in range(rng.integers(1, 7)):
            names.append(f"g{group}")
            labels.append(str(main if rng.random() < 0.8 else rng.integers(classes)))
    return names, labels


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(30, 120),
    st.sampled_from([(0.7, 0.15, 0.15), (0.6, 0.2, 0.2), (0.2,) * 5, (0.5, 0.5)]),
)
def test_shares_and_groups(seed: int, groups: int, fractions: tuple[float, ...]) -> None:
    names, labels = study(seed, groups)
    parts = assign(names, labels, fractions, seed)
    part_of = defaultdict(set)
    for name, part in zip(names, parts, strict=True):
        part_of[name].add(part)
    assert all(len(found) == 1 for found in part_of.values())
    counts = np.bincount(parts, minlength=len(fractions))
    assert (counts > 0).all()
    assert np.abs(counts - np.array(fractions) * len(names)).max() <= 6  # the largest group
    for label in set(labels):
        wanted = labels.count(label) * np.array(fractions)
        got = np.bincount(
            [part for part, mine in zip(parts, labels, strict=True) if mine == label], minlength=len(fractions)
        )
        assert np.abs(got - wanted).max() <= 6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_repeatable_and_independent_of_the_order_of_rows(seed: int, random: st.randoms) -> None:  # type: ignore[valid-type]
    names, labels = study(seed, 40)
    parts = assign(names, labels, (0.7, 0.15, 0.15), seed)
    assert parts == assign(names, labels, (0.7, 0.15, 0.15), seed)
    order = list(range(len(names)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = assign([names[i] for i in order], [labels[i] for i in order], (0.7, 0.15, 0.15), seed)
    assert [parts[i] for i in order] == shuffled


def test_seeds_differ() -> None:
    names, labels = study(1, 60)
    assert len({tuple(assign(names, labels, (0.7, 0.15, 0.15), seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("seed", range(6))
def test_balance_is_that_of_scikit_learn(seed: int) -> None:
    """In no fold is the count of a class further from its target than theirs, give or take one image."""
    names, labels = study(seed, 60, classes=4)

    def worst(parts: list[int]) -> float:
        found, counts = Counter(zip(parts, labels, strict=True)), Counter(labels)
        return max(abs(found[part, label] - counts[label] / 5) for part in range(5) for label in counts)

    theirs = [0] * len(names)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(names, labels, names)):
        for index in test:
            theirs[index] = fold
    assert worst(assign(names, labels, (0.2,) * 5, seed)) <= worst(theirs) + 1


def test_few_groups_fill_every_part() -> None:
    assert sorted(assign(["a"] * 50 + ["b", "c"], ["x"] * 52, (0.7, 0.15, 0.15), 0)[49:]) == [0, 1, 2]
    with pytest.raises(KerasOrthoError, match="2 groups cannot fill 3 parts"):
        assign(["a", "b"], ["x", "x"], (0.7, 0.15, 0.15), 0)


def test_split_columns(table: Table) -> None:
    names, labels = study(0, 60)
    manifest = table(
        image=[f"{i}.png" for i in range(len(names))],
        label=labels,
        group=names,
        exclude=["broken", *[""] * (len(names) - 1)],
    )
    grouping = Grouping(tuple("" if row["exclude"] else row["group"] for row in manifest.rows), ())
    result = split_columns(manifest, grouping, stratify="label")
    assert result.rows[0]["split"] == result.rows[0]["group"] == ""
    assert {row["split"] for row in result.rows[1:]} == {"train", "val", "test"}
    folds = split_columns(result, grouping, folds=4, stratify="label")
    assert {row["fold"] for row in folds.rows[1:]} == set("0123") and folds.rows[0]["fold"] == ""
    assert [row["split"] for row in folds.rows] == [row["split"] for row in result.rows]
    two = split_columns(manifest, grouping, fractions=(0.8, 0.2, 0))
    assert {row["split"] for row in two.rows[1:]} == {"train", "val"}
    with pytest.raises(KerasOrthoError, match="all images would train, and none validate or test"):
        split_columns(manifest, grouping, fractions=(1, 0, 0))
    for wrong in [(0.7, 0.3), (0.7, 0.7, 0.7), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)]:
        with pytest.raises(KerasOrthoError, match="three numbers for train, val and test"):
            split_columns(manifest, grouping, fractions=wrong)
    with pytest.raises(KerasOrthoError, match="--folds must be 2"):
        split_columns(manifest, grouping, folds=1)


def test_wanted_parts() -> None:
    assert wanted_parts((0.8, 0.2, 0)) == ("split", ("train", "val"), (0.8, 0.2))
    assert wanted_parts(folds=2) == ("fold", ("0", "1"), (1.0, 1.0))


def test_refuses_a_leak(table: Table) -> None:
    manifest = table(image=["a", "b"], group=["p", "p"], split=["train", "test"])
    assert crossing_groups(manifest.rows, "group", "split") == {"p": ["test", "train"]}
    with pytest.raises(KerasOrthoError, match="1 group crosses splits: p"):
        refuse_leak(manifest, "group", "split")
