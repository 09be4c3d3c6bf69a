"""Importers: class folders and image/mask pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kerasortho.data.importing.importers import import_classes, import_pairs
from kerasortho.data.manifest import read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png

BLACK = np.zeros((6, 5), np.uint8)


def put(*files: Path) -> None:
    for file in files:
        write_png(file, BLACK)


def test_classes(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put(root / "hand" / "10.png", root / "hand" / "2.png", root / "leg" / "study" / "1.PNG", root / "loose.png")
    (root / "empty").mkdir()
    (root / "hand" / "notes.txt").write_text("no image")
    imported = import_classes(root, tmp_path / "out" / "m.csv")
    manifest = read_manifest(tmp_path / "out" / "m.csv")
    assert [(row["image"], row["label"]) for row in manifest.rows] == [
        ("../set/hand/2.png", "hand"),
        ("../set/hand/10.png", "hand"),
        ("../set/leg/study/1.PNG", "leg"),
    ]
    assert any("1 image lies in no class folder: loose.png" in note for note in imported.notes)
    assert any("empty has no images" in note for note in imported.notes)
    assert imported.notes[-1] == "Files skipped, being no images: 1 (1 .txt)."


def test_classes_refuse(tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match="no folder"):
        import_classes(tmp_path / "none", tmp_path / "m.csv")
    with pytest.raises(KerasOrthoError, match="no sub-folders with images"):
        import_classes(tmp_path, tmp_path / "m.csv")
    put(tmp_path / "set" / "hand" / "1.png")
    (tmp_path / "m.csv").write_text("mine")
    with pytest.raises(KerasOrthoError, match="exists already"):
        import_classes(tmp_path / "set", tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text() == "mine"
    import_classes(tmp_path / "set", tmp_path / "m.csv", overwrite=True)
    assert len(read_manifest(tmp_path / "m.csv").rows) == 1


def test_pairs(tmp_path: Path) -> None:
    put(tmp_path / "images" / "A" / "1.png", tmp_path / "images" / "B" / "2.png")
    put(tmp_path / "masks" / "1.png", tmp_path / "masks" / "2.png", tmp_path / "ignore" / "2.png")
    (tmp_path / "more.csv").write_text("file,limb,mask\n1.png,upper,7\n2,lower,8\n9.png,lower,9\n")
    imported = import_pairs(
        tmp_path / "images",
        tmp_path / "masks",
        tmp_path / "m.csv",
        ignore=tmp_path / "ignore",
        columns=tmp_path / "more.csv",
        columns_key="file",
    )
    assert imported.notes == (
        f"Column mask of {tmp_path / 'more.csv'} is not taken: the manifest's own column mask names files. "
        "Rename it to keep it.",
    )
    rows = [dict(row) for row in read_manifest(tmp_path / "m.csv").rows]
    assert rows == [
        {"image": "images/A/1.png", "mask": "masks/1.png", "ignore": "", "limb": "upper"},
        {"image": "images/B/2.png", "mask": "masks/2.png", "ignore": "ignore/2.png", "limb": "lower"},
    ]


def test_pairs_in_one_tree(tmp_path: Path) -> None:
    put(tmp_path / "1.jpg.png", tmp_path / "masks" / "1.jpg.png")
    import_pairs(tmp_path, tmp_path / "masks", tmp_path / "m.csv")
    assert [row["image"] for row in read_manifest(tmp_path / "m.csv").rows] == ["1.jpg.png"]


def test_pairs_of_dicom_files_named_by_their_uid(tmp_path: Path) -> None:
    for uid in ("1.2.840.5.1", "1.2.840.5.2"):
        put(tmp_path / "masks" / f"{uid}.png")
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / uid).write_bytes(bytes(128) + b"DICM" + bytes(200))
    (tmp_path / "images" / "index.html").write_text("<p>")
    imported = import_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "m.csv")
    assert [row["image"] for row in imported.manifest.rows] == ["images/1.2.840.5.1", "images/1.2.840.5.2"]
    assert imported.notes == ("Files skipped, being no images: 1 (1 .html).",)


def test_pairs_without_partner(tmp_path: Path) -> None:
    put(tmp_path / "images" / "1.png", tmp_path / "images" / "2.png", tmp_path / "masks" / "1.png")
    with pytest.raises(KerasOrthoError, match=r"1 of 2 images has no mask of the same name: 2.png.*--skip-unmatched"):
        import_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
    imported = import_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "m.csv", skip_unmatched=True)
    assert len(imported.manifest.rows) == 1 and "left out" in imported.notes[0]
    put(tmp_path / "masks" / "3.png")
    with pytest.raises(KerasOrthoError, match=r"1 mask has no image of the same name: 3.png"):
        import_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "n.csv", skip_unmatched=True)


def test_pairs_with_ambiguous_names(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a" / "1.png", tmp_path / "images" / "b" / "1.png", tmp_path / "masks" / "1.png")
    with pytest.raises(KerasOrthoError, match="named alike"):
        import_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "m.csv")


def test_pairs_with_a_table_that_lacks_the_key(tmp_path: Path) -> None:
    put(tmp_path / "images" / "1.png", tmp_path / "masks" / "1.png")
    (tmp_path / "more.csv").write_text("image_id,limb\n1.png,upper\n")
    with pytest.raises(KerasOrthoError, match=r"no column \"image_ids\".*Did you mean \"image_id\".*--columns-key"):
        import_pairs(
            tmp_path / "images",
            tmp_path / "masks",
            tmp_path / "m.csv",
            columns=tmp_path / "more.csv",
            columns_key="image_ids",
        )


def test_pairs_of_one_folder_with_itself(tmp_path: Path) -> None:
    put(tmp_path / "images" / "1.png", tmp_path / "masks" / "1.png")
    with pytest.raises(KerasOrthoError, match="--images and --masks name the same folder"):
        import_pairs(tmp_path / "images", tmp_path / "masks" / ".." / "images", tmp_path / "m.csv")
    with pytest.raises(KerasOrthoError, match="--masks and --ignore name the same folder"):
        import_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "m.csv", ignore=tmp_path / "masks")


def test_bones(real_data: Path, tmp_path: Path) -> None:
    bones = real_data / "data" / "FracAtlas-bones"
    imported = import_pairs(
        real_data / "data" / "FracAtlas" / "images",
        bones / "masks",
        tmp_path / "bones.csv",
        ignore=bones / "ignore",
        columns=bones / "annotations.csv",
        columns_key="image_id",
        skip_unmatched=True,
    )
    rows = read_manifest(tmp_path / "bones.csv").rows
    assert len(rows) == 141 and "3122 of 3263 images" in imported.notes[0]
    assert {row["limb"] for row in rows} == {"upper", "lower"} and {row["quality"] for row in rows} == {"A", "B"}
    assert sum(row["ignore"].endswith(".png") for row in rows) == 54
