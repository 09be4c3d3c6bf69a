"""Lists of images: columns of any name, paths of any kind, what Excel makes of them, and no identities."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasortho.data.importing.importers import Imported
from kerasortho.data.importing.list_import import ListColumns, import_list
from kerasortho.data.manifest import read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png

ALL = ListColumns("File Name", "Mask", None, "Körperteil", "PatientID", "Set")
TABLE = """File Name;Mask;Körperteil;PatientID;Set;Doctor;;
hand\\1, left.png;m/1.png;Hand;4711;Training;Dr. A;;
leg/2.png;;Bein;4711;validation;Dr. B;;
leg/3.png;m/3.png;;4712;;;;
;;;;;;;
"""

Run = Callable[..., Imported]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that imports the text of a list; the images of TABLE lie below ``data``."""
    for name in ("hand/1, left.png", "leg/2.png", "leg/3.png", "m/1.png", "m/3.png"):
        write_png(tmp_path / "data" / name, np.zeros((4, 4), np.uint8))

    def call(text: str | bytes, columns: ListColumns = ALL, **options: Any) -> Imported:
        source = tmp_path / "list.csv"
        source.write_bytes(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode("utf-8-sig"))
        options = {"root": tmp_path / "data", "overwrite": True} | options
        return import_list(source, tmp_path / "out" / "m.csv", columns, **options)

    return call


def test_a_list_from_excel(run: Run, tmp_path: Path) -> None:
    imported = run(TABLE)
    rows = [dict(row) for row in read_manifest(tmp_path / "out" / "m.csv").rows]
    assert [{name: cell for name, cell in row.items() if name != "group"} for row in rows] == [
        {"image": "../data/hand/1, left.png", "mask": "../data/m/1.png", "label": "Hand", "split": "train"},
        {"image": "../data/leg/2.png", "mask": "", "label": "Bein", "split": "val"},
        {"image": "../data/leg/3.png", "mask": "../data/m/3.png", "label": "", "split": ""},
    ]
    assert "Splits renamed: Training is train (1 image), validation is val (1 image)." in imported.notes
    assert any(note.startswith("Columns not taken: Doctor.") for note in imported.notes)


def test_patients_become_pseudonyms(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def groups(**options: Any) -> list[str]:
        return [row["group"] for row in run(TABLE, **options).manifest.rows]

    first, again = groups(), groups()
    assert all(re.fullmatch("g-[0-9a-f]{10}", group) for group in first)
    assert first[0] == first[1] != first[2] and first[0] != again[0]
    text = (tmp_path / "out" / "m.csv").read_text()
    assert "4711" not in text and "Dr." not in text
    monkeypatch.setenv("SALT", "a secret of the hospital")
    assert groups(salt_env="SALT") == groups(salt_env="SALT")
    assert groups(keep_groups=True) == ["4711", "4711", "4712"]
    with pytest.raises(KerasOrthoError, match="exclude each other"):
        groups(keep_groups=True, salt_env="SALT")


def test_further_columns_but_no_identities(run: Run) -> None:
    imported = run("image,scanner,Patient Name\nleg/2.png,A,X\n", ListColumns(), keep=["scanner"])
    assert dict(imported.manifest.rows[0]) == {"image": "../data/leg/2.png", "scanner": "A"}
    with pytest.raises(KerasOrthoError, match="tells who the patients are"):
        run("image,scanner,Patient Name\nleg/2.png,A,X\n", ListColumns(), keep=["Patient Name"])
    with pytest.raises(KerasOrthoError, match=r"--keep mask: .*Use --mask-col mask"):
        run("image,mask\nleg/2.png,m/1.png\n", ListColumns(), keep=["mask"])


@pytest.mark.parametrize("prefix", ["{root}/", "", "./", "C:\\xray\\", "\\\\server\\share\\data\\", "/mnt/old/data/"])
def test_paths_from_elsewhere(run: Run, tmp_path: Path, prefix: str) -> None:
    start = prefix.format(root=tmp_path / "data")
    imported = run(f"image\n{start}leg/2.png\n", ListColumns())
    assert imported.manifest.rows[0]["image"] == "../data/leg/2.png"
    searched = [note for note in imported.notes if "not where the list says" in note]
    assert len(searched) == (prefix[:1] in ("C", "\\") or prefix.startswith("/mnt"))


def test_paths_are_searched_only_below_a_given_root(run: Run) -> None:
    with pytest.raises(KerasOrthoError, match=r"1 file of .*list\.csv is missing below .*--root"):
        run("image\nC:\\xray\\leg\\2.png\n", ListColumns(), root=None)


def test_missing_and_ambiguous_files(run: Run, tmp_path: Path) -> None:
    text = "image\nleg/2.png\nleg/9.png\n"
    with pytest.raises(KerasOrthoError, match=r"is missing below .*: leg/9\.png\."):
        run(text, ListColumns())
    imported = run(text, ListColumns(), skip_missing=True)
    assert len(imported.manifest.rows) == 1 and "The lines are left out." in imported.notes[0]
    with pytest.raises(KerasOrthoError, match="None of the images"):
        run("image\n9.png\n", ListColumns(), skip_missing=True)
    write_png(tmp_path / "data" / "hand" / "2.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(KerasOrthoError, match=r"2\.png may be"):
        run("image\n2.png\n", ListColumns())


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("file;Mask\na;b\n", ListColumns("fiel"), 'no column "fiel", which --image-col names. Did you mean "file"'),
        (
            "image,set\nleg/2.png,trian\n",
            ListColumns(split="set"),
            "line 2: 'trian' is no split.*Did you mean \"train\"",
        ),
        ("image,set\nleg/2.png,3\n", ListColumns(split="set"), "Known are: train, val, test"),
        ("image\nleg/2.png\n./leg/../leg/2.png\n", ListColumns(), "lines 2 and 3 name the same image"),
        ("image,label\n,x\n", ListColumns(), "line 2: the cell of column image is empty"),
        ("image,label\nleg/2.png\n", ListColumns(), "line 2: 1 cell where"),
        ("image\n", ListColumns(), "lists no image"),
        ("image,Körper\nleg/2.png,x\n".encode("latin-1"), ListColumns(), "not UTF-8.*Latin-1"),
    ],
)
def test_mistakes_are_named(run: Run, text: str | bytes, columns: ListColumns, message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        run(text, columns)


def test_round_trip(run: Run, tmp_path: Path) -> None:
    """A manifest is a list, too: importing it again gives the same rows."""
    first = run(TABLE, keep_groups=True).manifest
    columns = ListColumns("image", "mask", None, "label", "group", "split")
    again = import_list(first.path, tmp_path / "out" / "again.csv", columns, keep_groups=True).manifest
    assert [dict(row) for row in again.rows] == [dict(row) for row in first.rows]


def test_fracatlas(real_data: Path, tmp_path: Path) -> None:
    """A published list: dataset.csv names its images without their folders."""
    root = real_data / "data" / "FracAtlas"
    imported = import_list(
        root / "dataset.csv",
        tmp_path / "m.csv",
        ListColumns("image_id"),
        root=root / "images",
        keep=["hand", "fractured"],
    )
    assert len(imported.manifest.rows) == 3263
    assert imported.manifest.rows[0]["image"].endswith("images/Non_fractured/IMG0000000.jpg")
    assert "3263 files are not where the list says, but found below" in imported.notes[0]
