"""Images among other files: told by ending, or by content."""

from __future__ import annotations

from pathlib import Path

from kerasortho.data.image_files import describe_skipped, image_stem, search_folder

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
