"""The checker: every fault that is put into a sound dataset is found, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data.checking.checks import _how_sizes_differ, check_manifest, exclude_broken
from kerasortho.data.checking.findings import Finding, has_errors, report_table, report_values
from kerasortho.data.importing.importers import Imported
from kerasortho.data.inspection import count_filler_rows
from kerasortho.data.manifest import Manifest, read_manifest, write_manifest
from kerasortho.radiograph.raster import write_png

Drawer = Callable[..., np.ndarray]
COUNT = 8


@pytest.fixture
def dataset(tmp_path: Path, draw_limb: Drawer) -> Manifest:
    """Eight sound images with masks, labels, groups and a split."""
    rows = []
    for number in range(COUNT):
        image = draw_limb(number)
        write_png(tmp_path / f"{number}.png", image)
        write_png(tmp_path / "masks" / f"{number}.png", np.where(image > 110, 255, 0).astype(np.uint8))
        label, split = ["hand", "leg"][number % 2], ["train", "val"][number // 4]
        rows.append(
            {
                "image": f"{number}.png",
                "mask": f"masks/{number}.png",
                "label": label,
                "group": f"p{number}",
                "split": split,
            }
        )
    manifest = Manifest(tmp_path / "m.csv", tuple(rows[0]), tuple(rows))
    write_manifest(manifest)
    return manifest


def found(manifest: Manifest) -> dict[str, Finding]:
    findings = check_manifest(manifest)
    assert len({finding.kind for finding in findings}) == len(findings)
    return {finding.kind: finding for finding in findings}


def names(finding: Finding) -> list[Sequence[str]]:
    return [case.names for case in finding.cases]


def edited(manifest: Manifest, number: int, **cells: str) -> Manifest:
    for column, cell in cells.items():
        values = [row.get(column, "") for row in manifest.rows]
        values[number] = cell
        manifest = manifest.with_column(column, values)
    return manifest


def test_sound_dataset(dataset: Manifest) -> None:
    assert found(dataset) == {}


def test_broken_files(dataset: Manifest, tmp_path: Path) -> None:
    (tmp_path / "0.png").unlink()
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.png").write_bytes(b"<html>not found</html>")
    write_png(tmp_path / "3.png", np.full((150, 120), 7, np.uint8))
    findings = found(dataset)
    assert [names(findings[kind]) for kind in ("missing", "truncated", "unreadable")] == [
        [("0.png",)],
        [("1.png",)],
        [("2.png",)],
    ]
    assert findings["constant"].level == "warning" and names(findings["constant"]) == [("3.png",)]
    assert str(tmp_path) not in json.dumps([case.detail for f in findings.values() for case in f.cases])
    mended = exclude_broken(dataset, list(findings.values()))
    assert [bool(row["exclude"]) for row in mended.rows] == [True] * 3 + [False] * 5
    assert mended.rows[0]["exclude"] == "missing: no such file"
    assert set(found(mended)) == {"constant", "excluded", "class_missing_in_split"}


def test_masks(dataset: Manifest, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    (masks / "0.png").unlink()
    (masks / "1.png").write_bytes(b"nothing")
    write_png(masks / "2.png", np.zeros((120, 150), np.uint8))
    write_png(masks / "3.png", np.arange(150 * 120, dtype=np.uint16).reshape(150, 120))
    write_png(masks / "4.png", np.zeros((150, 120), np.uint8))
    write_png(masks / "5.png", np.full((150, 120), 255, np.uint8))
    write_png(masks / "6.png", np.eye(150, 120, dtype=np.uint8))
    findings = found(edited(dataset, 7, mask=""))
    assert {kind: names(finding) for kind, finding in findings.items()} == {
        "mask_missing": [("0.png",)],
        "mask_unreadable": [("1.png",)],
        "mask_size": [("2.png",)],
        "mask_values": [("3.png",)],
        "mask_empty": [("2.png",), ("4.png",)],
        "mask_full": [("5.png",)],
        "no_mask": [("7.png",)],
    }
    detail = findings["mask_size"].cases[0].detail
    assert detail.startswith("masks/2.png: 120x150, the image 150x120 pixels (height x width): the same size turned")
    assert [findings[kind].cases[0].detail for kind in ("mask_missing", "mask_empty", "mask_full")] == [
        "masks/0.png",
        "masks/2.png",
        "masks/5.png",
    ]
    assert findings["mask_unreadable"].cases[0].detail.startswith("masks/1.png: The content is of no known")
    assert findings["mask_values"].cases[0].detail.startswith("masks/3.png: values 0, 1, 2")
    errors = [kind for kind, finding in findings.items() if finding.level == "error"]
    assert errors == ["mask_missing", "mask_unreadable", "mask_size", "mask_values"]


def test_ignore_masks(dataset: Manifest, tmp_path: Path) -> None:
    write_png(tmp_path / "ignore.png", np.zeros((150, 121), np.uint8))
    findings = found(edited(edited(dataset, 0, ignore="ignore.png"), 1, ignore="gone.png"))
    assert {kind: names(finding) for kind, finding in findings.items()} == {
        "ignore_missing": [("1.png",)],
        "ignore_size": [("0.png",)],
    }


def test_duplicates_that_leak_and_contradict(dataset: Manifest, tmp_path: Path, draw_limb: Drawer) -> None:
    cv2.imwrite(
        str(tmp_path / "5.jpg"), draw_limb(0), [cv2.IMWRITE_JPEG_QUALITY, 60]
    )  # near-duplicate of 0, other split
    write_png(tmp_path / "3.png", draw_limb(2))  # identical to 2, other label, other mask
    write_png(tmp_path / "7.png", draw_limb(6))
    findings = found(edited(edited(dataset, 5, image="5.jpg", label="hand"), 7, label="hand"))
    assert names(findings["duplicate_crosses_splits"]) == [("0.png", "5.jpg")]
    assert findings["duplicate_crosses_splits"].cases[0].detail.startswith("train and val, correlation 0.9")
    assert names(findings["exact_duplicates"]) == [("2.png", "3.png"), ("6.png", "7.png")]
    assert names(findings["near_duplicates"]) == [("0.png", "5.jpg")]
    assert names(findings["contradicting_labels"]) == [("2.png", "3.png")]
    assert findings["contradicting_labels"].cases[0].detail == "label hand and leg"
    assert findings["contradicting_labels"].level == "error"
    assert names(findings["contradicting_masks"]) == [("2.png", "3.png"), ("6.png", "7.png")]


def test_masks_that_cannot_be_read_are_told_in_words_for_masks(dataset: Manifest, tmp_path: Path) -> None:
    colour = np.zeros((150, 120, 3), np.uint8)
    colour[..., 0] = 200
    write_png(tmp_path / "masks" / "0.png", colour)
    whole = (tmp_path / "masks" / "1.png").read_bytes()
    (tmp_path / "masks" / "1.png").write_bytes(whole[: len(whole) // 2])
    details = [case.detail for case in found(dataset)["mask_unreadable"].cases]
    assert details[0].startswith("masks/0.png: This is a colour image") and "radiograph" not in details[0]
    assert "masks/1.png: The PNG file is truncated: its chunk IDAT is cut off" in details[1]


def test_labels_that_differ_in_case_or_blanks_only(dataset: Manifest) -> None:
    labels = ["Lower leg", "lower leg", "hand", "lower  Leg", "hand", "hand", "Hand", "foot"]
    spelled = dataset.with_column("label", labels).with_column("exclude", [""] * 6 + ["blurred", ""])
    finding = found(spelled)["label_spellings"]
    assert finding.level == "warning" and "differ only in case" in finding.meaning
    assert [(case.names, case.detail) for case in finding.cases] == [
        (("Lower leg", "lower  Leg", "lower leg"), "in column label")
    ]


def test_groups_that_cross(dataset: Manifest) -> None:
    crossing = edited(edited(dataset, 0, group="same", fold="0"), 7, group="same", fold="1")
    findings = found(crossing)
    assert set(findings) == {"group_crosses_splits", "group_crosses_folds"}
    assert names(findings["group_crosses_splits"]) == [("same",)]
    assert findings["group_crosses_folds"].cases[0].detail == "0 and 1"
    assert found(edited(crossing, 7, exclude="other patient")).keys() == {"excluded"}


def test_other_contradictions_and_table(dataset: Manifest, tmp_path: Path, draw_limb: Drawer) -> None:
    write_png(tmp_path / "1.png", draw_limb(0))
    manifest = dataset.with_column("limb", ["upper", "lower"] * 4).with_column("label", ["a"] * 7 + ["b"])
    findings = found(edited(manifest, 3, group="", split=""))
    assert findings["contradicting_columns"].cases[0].detail == "limb upper and lower"
    assert names(findings["no_group"]) == names(findings["no_split"]) == [("3.png",)]
    assert [(case.names, case.detail) for case in findings["class_missing_in_split"].cases] == [
        (("b",), "not in train")
    ]
    assert "no_groups" in found(manifest.with_column("group", [""] * COUNT))


def test_groups_that_are_no_patients(dataset: Manifest) -> None:
    alone = found(dataset.with_column("grouped_by", ["image"] * 3 + ["group"] * 5))
    assert set(alone) == {"groups_are_images"} and alone["groups_are_images"].level == "warning"
    assert names(alone["groups_are_images"]) == [("0.png",), ("1.png",), ("2.png",)]
    made = found(dataset.with_column("grouped_by", ["id-blocks 20"] * COUNT))
    assert set(made) == {"groups_are_made"} and names(made["groups_are_made"]) == [("blocks of 20 file numbers",)]


def test_reports(dataset: Manifest, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").unlink()
    findings = check_manifest(dataset)
    assert has_errors(findings) and not has_errors(check_manifest(exclude_broken(dataset, findings)))
    table = report_table(dataset, findings)
    assert "8 images, 0 excluded" in table and "ERROR  missing: 5" in table and "and 2 more" in table
    values = json.loads(json.dumps(report_values(dataset, findings)))
    assert values["ok"] is False and values["findings"][0]["kind"] == "missing"
    assert len(values["findings"][0]["cases"]) == values["findings"][0]["count"] == 5


def test_names_are_shown_without_their_common_folder(dataset: Manifest, tmp_path: Path) -> None:
    write_manifest(dataset, tmp_path / "elsewhere" / "m.csv")
    moved = read_manifest(tmp_path / "elsewhere" / "m.csv")
    (tmp_path / "3.png").unlink()
    table = report_table(moved, check_manifest(moved))
    assert "All images lie below ../\n" in table and "\n    3.png: no such file" in table


def test_filler_rows(draw_limb: Drawer) -> None:
    image = draw_limb(3, (160, 128)).astype(np.float32) / 255
    block = np.random.default_rng(0).uniform(0.4, 0.6, (8, 8)).astype(np.float32)
    for filler in (np.full((8, 8), 128 / 255, np.float32), block):
        damaged = image.copy()
        damaged[120:] = np.tile(filler, (5, 16))
        assert count_filler_rows(damaged) == 40
    border = image.copy()
    border[120:] = 0.9
    assert (
        count_filler_rows(image) == count_filler_rows(border) == count_filler_rows(np.zeros((64, 64), np.float32)) == 0
    )


def test_real_data_with_the_published_split(fracatlas: Imported) -> None:
    """The checker finds, without being told where, what eyes found: all pairs below were looked at."""
    manifest = fracatlas.manifest
    reasons = []
    for row in manifest.rows:
        looked_at = row["split"] or row["exclude"].startswith("unreadable")
        reasons.append("" if looked_at else "not needed here")
    findings = {
        finding.kind: finding for finding in check_manifest(manifest.with_column("exclude", reasons), processes=2)
    }
    assert len(findings["truncated"].cases) == 59
    leaks = findings["duplicate_crosses_splits"]
    assert leaks.level == "error" and len(leaks.cases) == 22
    assert len(findings["exact_duplicates"].cases) + len(findings["near_duplicates"].cases) == 30
    damaged = {Path(case.names[0]).stem[-4:] for case in findings["damaged_bottom"].cases}
    assert damaged == {"4067", "4071", "4113", "4150", "4187", "4232"}


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ((120, 150), "the same size turned"),
        ((75, 60), ": scaled by 0.5"),
        ((60, 75), ": scaled by 0.5, and turned"),
        ((300, 240), ": scaled by 2"),
        ((90, 60), ""),
    ],
)
def test_how_a_mask_of_another_size_came_about(mask, words):
    told = _how_sizes_differ(mask, (150, 120))
    assert told.startswith(words) if words.startswith(":") or not words else words in told
    assert bool(told) == bool(words)
