"""Splits: no group crosses, classes and shares are near their targets, the same input gives the same split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from kerasortho.data.manifest import Manifest, read_manifest, write_manifest
from kerasortho.data.splits import (
    assign,
    column_groups,
    crossing_groups,
    id_block_groups,
    refuse_leak,
    split_columns,
    tie,
)
from kerasortho.data.splitting import GroupChoice, describe_parts, split_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png

Drawer = Callable[..., np.ndarray]


def table(**columns: list[str]) -> Manifest:
    names = tuple(columns)
    return Manifest(
        Path("m.csv"),
        names,
        tuple(dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)),
    )


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


def test_id_blocks() -> None:
    manifest = table(
        image=["x/IMG0001.jpg", "y/IMG0019.jpg", "x/IMG0020.jpg", "x/IMG0100.jpg", "x/s7_03v.png", "x/IMG0002.jpg"],
        exclude=["", "", "", "", "", "broken"],
    )
    assert id_block_groups(manifest, 20) == ["IMG 0-19", "IMG 0-19", "IMG 20-39", "IMG 100-119", "s7_v 0-19", ""]
    alone = table(image=["x/IMG0019.jpg"], exclude=[""])
    assert id_block_groups(alone, 20) == ["IMG 0-19"]


def test_ids_that_say_nothing() -> None:
    with pytest.raises(KerasOrthoError, match="has no number"):
        id_block_groups(table(image=["a/left.png"]), 5)
    with pytest.raises(KerasOrthoError, match="have the same number"):
        id_block_groups(table(image=["p1/1.png", "p2/1.png"]), 5)


def test_column_groups() -> None:
    manifest = table(image=["a", "b"], patient=["p", ""], exclude=["", "broken"])
    assert column_groups(manifest, "patient") == ["p", ""]
    with pytest.raises(KerasOrthoError, match="1 images have no patient: b"):
        column_groups(manifest.with_column("exclude", ["", ""]), "patient")
    with pytest.raises(KerasOrthoError, match='Did you mean "patient"'):
        column_groups(manifest, "patients")


def test_duplicates_tie_groups() -> None:
    manifest = table(image=list("abcdef"))
    grouping = tie(manifest, ["p1", "p1", "p2", "p3", "p4", ""], [(1, 2), (2, 4), (0, 1), (3, 5)])
    assert grouping.names == ("p1+p2+p4", "p1+p2+p4", "p1+p2+p4", "p3", "p1+p2+p4", "")
    assert grouping.notes == ("3 pairs of duplicates; 2 of them tie different groups together.",)
    long = tie(manifest, list("uvwxyz"), [(i, i + 1) for i in range(5)])
    assert set(long.names) == {"u+v+w+3 more"}


def test_split_columns() -> None:
    names, labels = study(0, 60)
    manifest = table(
        image=[f"{i}.png" for i in range(len(names))],
        label=labels,
        group=names,
        exclude=["broken", *[""] * (len(names) - 1)],
    )
    grouping = tie(manifest, column_groups(manifest, "group"), [])
    result = split_columns(manifest, grouping, stratify="label")
    assert result.rows[0]["split"] == result.rows[0]["group"] == ""
    assert {row["split"] for row in result.rows[1:]} == {"train", "val", "test"}
    folds = split_columns(result, grouping, folds=4, stratify="label")
    assert {row["fold"] for row in folds.rows[1:]} == set("0123") and folds.rows[0]["fold"] == ""
    assert [row["split"] for row in folds.rows] == [row["split"] for row in result.rows]
    two = split_columns(manifest, grouping, fractions=(0.8, 0.2, 0))
    assert {row["split"] for row in two.rows[1:]} == {"train", "val"}
    for wrong in [(0.7, 0.3), (0.7, 0.7, 0.7), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)]:
        with pytest.raises(KerasOrthoError, match="three numbers for train, val and test"):
            split_columns(manifest, grouping, fractions=wrong)
    with pytest.raises(KerasOrthoError, match="--folds must be 2"):
        split_columns(manifest, grouping, folds=1)


def test_refuses_a_leak() -> None:
    manifest = table(image=["a", "b"], group=["p", "p"], split=["train", "test"])
    assert crossing_groups(manifest.rows, "group", "split") == {"p": ["test", "train"]}
    with pytest.raises(KerasOrthoError, match="1 groups cross splits: p"):
        refuse_leak(manifest, "group", "split")


@pytest.fixture
def images(tmp_path: Path, draw_limb: Drawer) -> Manifest:
    """Thirty images in files numbered 0 to 29; 3 and 27 are identical, 5 and 22 nearly so."""
    rows = []
    for number in range(30):
        drawn = draw_limb({27: 3, 22: 5}.get(number, number))
        write_png(tmp_path / f"{number:03d}.png", drawn // 2 + 20 if number == 22 else drawn)
        rows.append({"image": f"{number:03d}.png", "label": "ab"[number % 2]})
    manifest = Manifest(tmp_path / "m.csv", ("image", "label"), tuple(rows))
    write_manifest(manifest)
    return manifest


def test_split_manifest_ties_what_it_sees(images: Manifest) -> None:
    result, notes = split_manifest(images, GroupChoice(id_blocks=3), fractions=(0.6, 0.2, 0.2))
    groups = [row["group"] for row in result.rows]
    assert groups[3] == groups[27] == "21-23+27-29+3-5" == groups[22]
    assert notes[0] == "2 pairs of duplicates; 2 of them tie different groups together."
    assert not crossing_groups(result.rows, "group", "split")
    assert result.rows[3]["split"] == result.rows[27]["split"]
    again, _ = split_manifest(result, GroupChoice(), fractions=(0.6, 0.2, 0.2))
    assert [row["split"] for row in again.rows] == [row["split"] for row in result.rows]
    ungrouped, _ = split_manifest(images, GroupChoice(ungrouped=True), folds=3)
    assert ungrouped.rows[3]["fold"] == ungrouped.rows[27]["fold"]
    assert len({row["group"] for row in ungrouped.rows}) == 28


def test_refusals(images: Manifest, tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match=r"--group-column.*--id-blocks 20.*--ungrouped"):
        split_manifest(images)
    with pytest.raises(KerasOrthoError, match="exclude each other"):
        split_manifest(images, GroupChoice(id_blocks=3, ungrouped=True))
    grouped, _ = split_manifest(images, GroupChoice(id_blocks=3))
    with pytest.raises(KerasOrthoError, match="has groups already"):
        split_manifest(grouped, GroupChoice(id_blocks=5))
    with pytest.raises(KerasOrthoError, match=r"no column 'lable'.*Did you mean \"label\""):
        split_manifest(images, GroupChoice(id_blocks=3), stratify="lable")
    (tmp_path / "004.png").write_bytes(b"broken")
    with pytest.raises(KerasOrthoError, match=r"1 images cannot be read: 004.png.*--exclude-broken"):
        split_manifest(images, GroupChoice(id_blocks=3))


def test_table_of_parts(images: Manifest) -> None:
    result, _ = split_manifest(images, GroupChoice(id_blocks=2), fractions=(0.5, 0.25, 0.25))
    lines = describe_parts(result, "split").splitlines()
    assert lines[0].split() == ["split", "images", "share", "groups", "a", "b"]
    assert [line.split()[0] for line in lines[1:]] == ["train", "val", "test"]
    assert sum(int(line.split()[1]) for line in lines[1:]) == 30


def test_a_class_that_cannot_be_everywhere_is_told(images: Manifest) -> None:
    rare = images.with_column("label", ["rare", *["common"] * 29])
    _, notes = split_manifest(rare, GroupChoice(ungrouped=True))
    assert "has no rare" in notes[-1]


def test_written_manifest_reads_back(images: Manifest) -> None:
    result, _ = split_manifest(images, GroupChoice(id_blocks=3))
    write_manifest(result)
    assert read_manifest(images.path).columns == ("image", "label", "group", "split")
