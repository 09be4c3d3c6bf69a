"""From images to a split manifest: duplicates tied, groups remembered, oddities told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kerasortho.data.grouping import GroupChoice
from kerasortho.data.manifest import Manifest, read_manifest, write_manifest
from kerasortho.data.splits import crossing_groups
from kerasortho.data.splitting import describe_parts, split_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png

Drawer = Callable[..., np.ndarray]


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
    assert notes[0] == "2 pairs of duplicates, of which 2 join different groups."
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
    with pytest.raises(KerasOrthoError, match=r"no column \"lable\".*Did you mean \"label\""):
        split_manifest(images, GroupChoice(id_blocks=3), stratify="lable")
    (tmp_path / "004.png").write_bytes(b"broken")
    with pytest.raises(KerasOrthoError, match=r"1 image cannot be read: 004.png.*--exclude-broken"):
        split_manifest(images, GroupChoice(id_blocks=3))


def test_table_of_parts(images: Manifest) -> None:
    result, _ = split_manifest(images, GroupChoice(id_blocks=2), fractions=(0.5, 0.25, 0.25))
    lines = describe_parts(result, "split").splitlines()
    assert lines[0].split() == ["split", "images", "share", "groups", "a", "b"]
    assert [line.split()[0] for line in lines[1:4]] == ["train", "val", "test"]
    assert sum(int(line.split()[1]) for line in lines[1:4]) == 30
    assert lines[4:] == ["Groups: blocks of 2 file numbers."]


def test_without_a_label_it_is_told_that_nothing_is_balanced(images: Manifest) -> None:
    plain = Manifest(images.path, ("image",), tuple({"image": row["image"]} for row in images.rows))
    _, notes = split_manifest(plain, GroupChoice(id_blocks=3))
    assert sum("--stratify COLUMN" in note for note in notes) == 1
    assert not any("--stratify" in note for note in split_manifest(images, GroupChoice(id_blocks=3))[1])


def test_a_class_that_cannot_be_everywhere_is_told(images: Manifest) -> None:
    rare = images.with_column("label", ["rare", *["common"] * 29])
    _, notes = split_manifest(rare, GroupChoice(ungrouped=True))
    assert "has no rare" in notes[-1]


def test_written_manifest_reads_back(images: Manifest) -> None:
    result, _ = split_manifest(images, GroupChoice(id_blocks=3))
    write_manifest(result)
    assert read_manifest(images.path).columns == ("image", "label", "group", "grouped_by", "split")


def test_contradicting_duplicates_are_counted(images: Manifest) -> None:
    """3 and 27 have one label; 5 and 22 have not."""
    _, notes = split_manifest(images, GroupChoice(ungrouped=True))
    assert notes[1] == "1 of the pairs disagrees on a label: see `kerasortho data check " + str(images.path) + "`."
    agreeing = images.with_column(
        "label", ["a" if number == 5 else row["label"] for number, row in enumerate(images.rows)]
    )
    _, notes = split_manifest(agreeing, GroupChoice(ungrouped=True))
    assert not any("disagree" in note for note in notes)


def test_a_column_that_looks_like_patients_is_remarked_on(images: Manifest) -> None:
    told = "Column Patient_ID looks like patients or studies: --group-column Patient_ID goes by it."
    patients = images.with_column("Patient_ID", [f"p{number // 2}" for number in range(len(images.rows))])
    assert told in split_manifest(patients, GroupChoice(ungrouped=True))[1]
    assert told not in split_manifest(patients, GroupChoice(column="Patient_ID"))[1]


def test_impossible_parts_are_told_before_any_image_is_read(images: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasortho.data.splitting.inspect_manifest", lambda *_, **__: pytest.fail("images were read"))
    with pytest.raises(KerasOrthoError, match="sum to 1"):
        split_manifest(images, GroupChoice(ungrouped=True), fractions=(0.7, 0.2, 0.2))
    with pytest.raises(KerasOrthoError, match="--folds must be 2"):
        split_manifest(images, GroupChoice(ungrouped=True), folds=1)


def test_folds_of_other_groups_than_the_splits_are_told(images: Manifest) -> None:
    split, _ = split_manifest(images, GroupChoice(ungrouped=True))
    _, notes = split_manifest(split, GroupChoice(id_blocks=10), folds=2)
    assert "cross splits, which were made with other groups" in notes[-1]
