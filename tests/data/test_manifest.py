"""Manifests: what is read, what is refused and with which words, what is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kerasortho.data.manifest import (
    Manifest,
    manifest_hash,
    read_csv_rows,
    read_manifest,
    relative_cell,
    write_manifest,
)
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png

Writer = Callable[..., Path]


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na.png,hand\nb.png,leg\n",
        "\ufeffimage,label\r\na.png,hand\r\n\r\nb.png,leg\r\n",
        "image;label\na.png;hand\nb.png;leg",
        " image , label \n a.png , hand \n b.png , leg \n",
        "image\tlabel\na.png\thand\nb.png\tleg\n",
        "\ufeffsep=;\r\nimage;label;;\r\na.png;hand;;\r\n;;;\r\nb.png;leg\r\n;;;\r\n;;;\r\n",
        "image,label\na.png,hand,\nb.png,leg,,,\n",
    ],
)
def test_csv_dialects_read_alike(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode())
    manifest = read_manifest(path, check_files=False)
    assert manifest.columns == ("image", "label")
    assert [dict(row) for row in manifest.rows] == [
        {"image": "a.png", "label": "hand"},
        {"image": "b.png", "label": "leg"},
    ]
    assert manifest_hash(manifest) == manifest_hash(Manifest(Path("x.csv"), manifest.columns, manifest.rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("image,label\n", "lists no image"),
        ("images,label\na.png,hand\n", 'no column "image".*Did you mean "images"'),
        ("image,label,label\na.png,hand,x\n", "column 'label' more than once"),
        ("image,label\na.png\n", "line 2: 1 cell where the header has 2.*also at the end of a line"),
        ("sep=;\nimage;label\na.png\n", "line 3: 1 cell"),
        ("image,label,\na.png,hand,x\n", "line 2: 3 cells where the header has 2"),
        ("image,label\na.png,hand\nb.png,leg,x\n", "line 3: 3 cells"),
        ("image,label\n,hand\n", "line 2: the cell of column image is empty"),
        ("image,split\na.png,trian\n", "line 2: split must be train, val, test or empty. Received: 'trian'.*\"train\""),
        ("image,split\na.png,validation\n", 'Did you mean "val"'),
        (
            'image,label\na.png,hand\nb.png,"leg\nc.png,leg\n',
            "line 3: not readable as CSV.*quote that opens in this line",
        ),
        ('image,label\na.png,"hand\nb.png,"leg"\n', "line 2: not readable as CSV.*quote that opens in this line"),
        ("image,fold\na.png,1.5\n", "fold must be 0, 1, 2"),
        ("image\na.png\nb.png\n./a.png\n", "lines 2 and 4 name the same image"),
    ],
)
def test_mistakes_are_named(write_table: Writer, text: str, message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        read_manifest(write_table(text, images=False), check_files=False)


def test_no_file_and_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match="no such file"):
        read_manifest(tmp_path / "none.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("image,label\na.png,Hüfte\n".encode("latin-1"))
    with pytest.raises(KerasOrthoError, match=r"not UTF-8 text \(byte 19, in line 2\).*Latin-1.*CSV UTF-8"):
        read_manifest(latin)
    latin.write_bytes("image,label\na.png,hand\n".encode("utf-16"))
    with pytest.raises(KerasOrthoError, match="is UTF-16 text"):
        read_manifest(latin)


def test_windows_paths_are_named(write_table: Writer) -> None:
    with pytest.raises(KerasOrthoError, match=r"Write paths with / instead of \\"):
        read_manifest(write_table("image\nimages\\a.png\n", images=False))


def test_file_names_of_every_kind_survive(tmp_path: Path) -> None:
    names = ["a b.png", "a, b;c.png", "line\nbreak.png", '"quoted".png', "骨折 é.png", " leading.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    rows = [{"image": relative_cell(tmp_path / name, tmp_path)} for name in names]
    write_manifest(Manifest(tmp_path / "m.csv", ("image",), tuple(rows)))
    manifest = read_manifest(tmp_path / "m.csv")
    assert [manifest.resolve(row, "image") for row in manifest.rows] == [tmp_path / name for name in names]


@pytest.mark.parametrize("name", ["a.png ", "b\r.png", "latin-\udce9.png"])
def test_file_names_that_no_csv_holds_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KerasOrthoError, match="Rename"):
        relative_cell(tmp_path / name, tmp_path)


def test_missing_files_are_counted_and_listed_but_not_those_of_excluded_rows(
    write_table: Writer, tmp_path: Path
) -> None:
    names = [f"{i}.png" for i in range(9)]
    path = write_table(
        "image,exclude\n" + "".join(f"{name},\n" for name in names) + "gone.png,unreadable\n", images=False
    )
    write_png(tmp_path / "8.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(
        KerasOrthoError,
        match=re.escape("8 of 9 files in column image are missing: 0.png, 1.png, 2.png, 3.png, 4.png and 3 more"),
    ):
        read_manifest(path)
    assert len(read_manifest(path, check_files=False).rows) == 10


def test_resolve_and_columns(write_table: Writer, tmp_path: Path) -> None:
    manifest = read_manifest(write_table("image,mask\na.png,\n"))
    row = manifest.rows[0]
    assert manifest.resolve(row, "image") == tmp_path / "a.png"
    assert manifest.resolve(row, "mask") is None and manifest.resolve(row, "ignore") is None
    wider = manifest.with_column("group", ["p1"])
    assert wider.columns == ("image", "mask", "group") and wider.rows[0]["group"] == "p1"
    assert "group" not in row
    with pytest.raises(KerasOrthoError, match='Did you mean "group"'):
        wider.require_column("gruop")


def test_round_trip_with_awkward_cells(tmp_path: Path) -> None:
    rows = ({"image": "a, b/ü.png", "note": 'says "x"\nand more'}, {"image": "c.png", "note": ""})
    manifest = Manifest(tmp_path / "m.csv", ("image", "note"), rows)
    write_manifest(manifest)
    again = read_manifest(tmp_path / "m.csv", check_files=False)
    assert [dict(row) for row in again.rows] == list(rows)
    assert manifest_hash(again) == manifest_hash(manifest)
    assert not [file for file in tmp_path.iterdir() if file.name != "m.csv"]


def test_writing_elsewhere_keeps_paths_right(tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "a.png", np.zeros((4, 4), np.uint8))
    manifest = Manifest(tmp_path / "m.csv", ("image", "mask"), ({"image": "images/a.png", "mask": ""},))
    target = tmp_path / "deep" / "er" / "m.csv"
    write_manifest(manifest, target)
    moved = read_manifest(target)
    assert moved.rows[0]["image"] == "../../images/a.png"
    assert moved.resolve(moved.rows[0], "image") == tmp_path / "images" / "a.png"
    assert moved.rows[0]["mask"] == ""


def test_hash_changes_with_content(tmp_path: Path) -> None:
    one = Manifest(tmp_path / "m.csv", ("image", "label"), ({"image": "a", "label": "x"},))
    assert manifest_hash(one) != manifest_hash(one.with_column("label", ["y"]))
    assert manifest_hash(one) != manifest_hash(one.with_column("group", [""]))
    assert manifest_hash(one, ["image", "group"]) == manifest_hash(one.with_column("remark", [""]), ["image", "group"])
    assert manifest_hash(one, ["image", "group"]) != manifest_hash(one.with_column("group", [""]), ["image", "group"])


def test_other_tables(write_table: Writer) -> None:
    columns, rows = read_csv_rows(write_table("image_id;note\nx;1\n", images=False))
    assert columns == ("image_id", "note") and rows == [{"image_id": "x", "note": "1"}]
