"""Exports: what is written, and that importing it again gives the same masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from kerasortho.data.importing.annotation_import import AnnotationOptions
from kerasortho.data.importing.coco import import_coco
from kerasortho.data.importing.exports_coco import export_coco
from kerasortho.data.importing.exports_nnunet import export_nnunet
from kerasortho.data.importing.nnunet_import import import_nnunet
from kerasortho.data.manifest import Manifest, read_manifest, write_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_mask, read_radiograph

Maker = Callable[..., Manifest]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Return a function of further columns (four cells each) that writes a manifest of four images with masks."""

    def call(**columns: list[str]) -> Manifest:
        rng = np.random.default_rng(0)
        rows = []
        for index, name in enumerate(("a/1.png", "a/2.jpg", "b/1.png", "b/3, c.tif")):
            image = rng.integers(0, 255, (30, 40 + index), np.uint8)
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            stored = image.astype(np.uint16) * 201 if name == "b/1.png" else image
            assert cv2.imwrite(str(tmp_path / "images" / name), stored)
            mask = cv2.blur(rng.random(image.shape), (5, 5)) > 0.52
            write_png(tmp_path / "masks" / f"{index}.png", mask * (index != 1))
            ignore = np.zeros_like(mask)
            ignore[:4, 3:9] = True
            write_png(tmp_path / "ignore" / f"{index}.png", ignore)
            rows.append({"image": f"images/{name}", "mask": f"masks/{index}.png", "ignore": ""})
        rows[0]["ignore"] = "ignore/0.png"
        names = ("image", "mask", "ignore", *columns)
        filled = [row | {name: cells[i] for name, cells in columns.items()} for i, row in enumerate(rows)]
        manifest = Manifest(tmp_path / "m.csv", names, tuple(filled))
        write_manifest(manifest)
        return manifest

    return call


def masks_of(manifest: Manifest, column: str = "mask") -> list[np.ndarray | None]:
    files = [manifest.resolve(row, column) for row in manifest.rows]
    return [None if file is None else read_mask(file) for file in files]


def assert_equal(first: list[Any], second: list[Any]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None) and (one is None or np.array_equal(one, other))


def test_coco_round_trip(make: Maker, tmp_path: Path) -> None:
    manifest = make()
    exported = export_coco(manifest.path, tmp_path / "out.json", category="bone")
    assert exported.images == 4 and f"Images are named from {tmp_path / 'images'}." in exported.notes
    options = AnnotationOptions(empty_masks=True)
    again = import_coco(
        tmp_path / "out.json", tmp_path / "images", tmp_path / "again.csv", crowd="ignore", options=options
    ).manifest
    assert [row["image"] for row in again.rows] == [row["image"] for row in manifest.rows]
    assert_equal(masks_of(again), masks_of(manifest))
    assert_equal(masks_of(again, "ignore"), masks_of(manifest, "ignore"))
    theirs = COCO(str(tmp_path / "out.json"))
    assert theirs.cats[1]["name"] == "bone" and len(theirs.imgs) == 4
    for number, mask in enumerate(masks_of(manifest), 1):
        drawn = [theirs.annToMask(theirs.anns[i]) for i in theirs.getAnnIds(imgIds=[number], iscrowd=False)]
        assert mask is not None and np.array_equal(np.any(drawn, axis=0) if drawn else np.zeros_like(mask), mask)


def test_coco_of_one_split_and_bad_files(make: Maker, tmp_path: Path) -> None:
    manifest = make(split=["train", "train", "test", ""], exclude=["", "", "", "bad"])
    write_png(tmp_path / "masks" / "0.png", np.zeros((4, 4), np.uint8))
    exported = export_coco(manifest.path, tmp_path / "out.json", split="train")
    assert [image["file_name"] for image in json.loads((tmp_path / "out.json").read_text())["images"]] == ["2.jpg"]
    assert exported.notes[:2] == (
        "Left out: 1 excluded, 1 of other splits.",
        "Left out, for their files cannot be used: 1 image: images/a/1.png "
        "(mask: it has 4x4 pixels, but the image has 40x30).",
    )
    for options, message in (
        ({"split": "trian"}, 'Did you mean "train"'),
        ({"split": "val"}, "no image with a mask"),
        ({}, "exists already"),
    ):
        target = tmp_path / ("out.json" if not options else "other.json")
        with pytest.raises(KerasOrthoError, match=message):
            export_coco(manifest.path, target, **options)
    assert not (tmp_path / "other.json").exists()


def test_nnunet_round_trip_with_splits(make: Maker, tmp_path: Path) -> None:
    manifest = make(split=["train", "val", "test", "train"], group=["p1", "p2", "p3", "p1"])
    exported = export_nnunet(manifest.path, tmp_path / "Dataset501_Bones", label="bone")
    root = tmp_path / "Dataset501_Bones"
    assert exported.images == 4
    assert sorted(str(file.relative_to(root)) for file in root.rglob("*.png")) == [
        "imagesTr/case_00001_0000.png",
        "imagesTr/case_00002_0000.png",
        "imagesTr/case_00004_0000.png",
        "imagesTs/case_00003_0000.png",
        "labelsTr/case_00001.png",
        "labelsTr/case_00002.png",
        "labelsTr/case_00004.png",
        "labelsTs/case_00003.png",
    ]
    content = json.loads((root / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "bone": 1, "ignore": 2} and content["numTraining"] == 3
    assert json.loads((root / "splits_final.json").read_text()) == [
        {"train": ["case_00001", "case_00004"], "val": ["case_00002"]}
    ]
    cases = read_manifest(root / "cases.csv")
    assert [row["case"] for row in cases.rows] == [f"case_0000{i}" for i in range(1, 5)]
    assert [cases.resolve(row, "image") for row in cases.rows] == [manifest.resolve(r, "image") for r in manifest.rows]
    again = import_nnunet(root, tmp_path / "again.csv", splits=root / "splits_final.json").manifest
    order = [0, 1, 3, 2]  # imagesTs comes last
    originals = [manifest.rows[index] for index in order]
    assert [row["split"] for row in again.rows] == [row["split"] for row in originals]
    ignore = [masks_of(manifest, "ignore")[index] for index in order]
    masks = [masks_of(manifest)[index] for index in order]
    assert_equal(masks_of(again, "ignore"), ignore)
    # One label a pixel: what is doubtful is not marked any more.
    assert_equal(masks_of(again), [m if i is None else m & (1 - i) for m, i in zip(masks, ignore, strict=True)])
    for row, original in zip(again.rows, originals, strict=True):
        pixels = [read_radiograph(m.resolve(r, "image") or "").pixels for m, r in ((again, row), (manifest, original))]
        assert np.array_equal(*pixels)


def test_nnunet_round_trip_with_folds(make: Maker, tmp_path: Path) -> None:
    manifest = make(fold=["0", "1", "0", "2"])
    root = export_nnunet(manifest.path, tmp_path / "bones").path
    splits = json.loads((root / "splits_final.json").read_text())
    assert [fold["val"] for fold in splits] == [["case_00001", "case_00003"], ["case_00002"], ["case_00004"]]
    assert all(len(fold["train"]) + len(fold["val"]) == 4 for fold in splits)
    again = import_nnunet(root, tmp_path / "again.csv", splits=root / "splits_final.json").manifest
    assert [row["fold"] for row in again.rows] == ["0", "1", "0", "2"]


def test_nnunet_without_parts_warns_of_leaks(make: Maker, tmp_path: Path) -> None:
    exported = export_nnunet(make().path, tmp_path / "bones")
    assert not (exported.path / "splits_final.json").exists()
    assert "called like Dataset501_Bones" in exported.notes[0] and "split at random" in exported.notes[1]


def test_nnunet_refusals(make: Maker, tmp_path: Path) -> None:
    manifest = make(split=["train", "", "test", "val"], fold=["0", "0", "1", "1"])
    with pytest.raises(KerasOrthoError, match="--by split or --by fold"):
        export_nnunet(manifest.path, tmp_path / "set")
    exported = export_nnunet(manifest.path, tmp_path / "set", by="split")
    assert exported.images == 3 and "Left out: 1 without split." in exported.notes
    with pytest.raises(KerasOrthoError, match="exists and is not empty"):
        export_nnunet(manifest.path, tmp_path / "set", by="split")
    with pytest.raises(KerasOrthoError, match='cannot be called "ignore"'):
        export_nnunet(manifest.path, tmp_path / "other", by="fold", label="ignore")
    make(fold=["0", "0", "1", "1"])
    with pytest.raises(KerasOrthoError, match="no values in column split"):
        export_nnunet(manifest.path, tmp_path / "other", by="split")
    for file in (tmp_path / "masks").iterdir():
        write_png(file, np.full((30, 40), 7, np.uint8))
    with pytest.raises(KerasOrthoError, match=r"no image with a mask to train on.*4 images: images/a/1\.png \(mask: a"):
        export_nnunet(manifest.path, tmp_path / "other", by="fold")
    assert not (tmp_path / "other").exists() and not list(tmp_path.glob(".other*"))


def test_real_masks(real_data: Path, tmp_path: Path) -> None:
    """All 141 bone masks and their doubtful pixels survive both ways."""
    from kerasortho.data.importing.importers import import_pairs

    data = real_data / "data"
    manifest = import_pairs(
        data / "FracAtlas" / "images",
        data / "FracAtlas-bones" / "masks",
        tmp_path / "m.csv",
        ignore=data / "FracAtlas-bones" / "ignore",
        skip_unmatched=True,
    ).manifest
    export_coco(manifest.path, tmp_path / "out.json", processes=2)
    again = import_coco(
        tmp_path / "out.json",
        data / "FracAtlas" / "images",
        tmp_path / "coco.csv",
        crowd="ignore",
        options=AnnotationOptions(empty_masks=True, view="stored", processes=2),
    ).manifest
    assert len(again.rows) == 141
    assert_equal(masks_of(again), masks_of(manifest))
    doubtful = [ignore if ignore is not None and ignore.any() else None for ignore in masks_of(manifest, "ignore")]
    assert_equal(masks_of(again, "ignore"), doubtful)
    root = export_nnunet(manifest.path, tmp_path / "Dataset501_Bones", processes=2).path
    back = import_nnunet(root, tmp_path / "nnunet.csv", processes=2).manifest
    for mask, ignore, found in zip(masks_of(manifest), masks_of(manifest, "ignore"), masks_of(back), strict=True):
        assert mask is not None and np.array_equal(mask if ignore is None else mask & (1 - ignore), found)
