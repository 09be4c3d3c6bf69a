"""Images among other files: told by ending, or by content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kerasortho.data.image_files import FolderContent, describe_skipped, image_stem, search_folder
from kerasortho.errors import KerasOrthoError

DICOM = bytes(128) + b"DICM" + bytes(200)


def test_dicom_files_need_no_ending(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("words " * 100)
    (tmp_path / "3.14159").write_text("digits")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    for name in ("IM0001", "1.2.840.113619.2.5.10", "1.2.840.113619.2.5.9"):
        (tmp_path / name).write_bytes(DICOM)
    (tmp_path / "sub.1").mkdir()
    (tmp_path / "sub.1" / "a.PNG").write_bytes(b"x")
    content = search_folder(tmp_path)
    assert [file.name for file in content.images] == [
        "1.2.840.113619.2.5.9",
        "1.2.840.113619.2.5.10",
        "IM0001",
        "a.PNG",
    ]
    assert [file.name for file in content.others] == ["3.14159", "README"]
    assert [file.name for file in search_folder(tmp_path, recursive=False).images][-1] == "IM0001"


def test_skipped_files_in_words(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.TXT", "c", "d.csv", "a.txt")]
    assert describe_skipped(files) == ["Files skipped, being no images: 4 (2 .txt, 1 .csv, 1 without ending)."]
    assert describe_skipped([]) == []


def test_stems() -> None:
    names = {"a/x.y.png": "x.y", "1.2.840.7": "1.2.840.7", "b.DCM": "b", "IM1": "IM1"}
    assert {name: image_stem(Path(name)) for name in names} == names


def test_links_in_circles_and_to_other_folders(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for file in (root / "a" / "1.png", elsewhere / "2.png"):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    (root / "a" / "up").symlink_to(root)
    (root / "Again").symlink_to(root / "a")
    (root / "share").symlink_to(elsewhere)
    (root / "dead.png").symlink_to(root / "gone.png")
    (root / "self.png").symlink_to(root / "self.png")
    content = search_folder(root)
    assert [file.relative_to(root).as_posix() for file in content.images] == ["a/1.png", "share/2.png"]
    assert describe_skipped(content.others) == ["Files skipped, being no images: 2 (2 leading nowhere (links))."]


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert search_folder(tmp_path) == FolderContent((), ())


def test_unreadable_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "closed").mkdir(parents=True)
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(KerasOrthoError, match="closed cannot be searched: Permission denied"):
        search_folder(tmp_path)


def test_order_of_odd_names(tmp_path: Path) -> None:
    names = ["1²3.png", "骨 2.png", "骨 10.png", "a, b.png", "line\nbreak.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    found = [file.name for file in search_folder(tmp_path).images]
    assert sorted(found) == sorted(names) and found.index("骨 2.png") < found.index("骨 10.png")
