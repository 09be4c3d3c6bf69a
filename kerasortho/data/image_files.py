"""Which files of a folder are images, and what the others are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.manifest import shorten
from kerasortho.radiograph.reading import IMAGE_SUFFIXES, is_dicom

_START = 256  # bytes that tell whether a file is DICOM


@dataclass(frozen=True)
class FolderContent:
    """The image files of a folder, in natural order (2 before 10), and the files that are none."""

    images: tuple[Path, ...]
    others: tuple[Path, ...]


def search_folder(folder: Path, *, recursive: bool = True) -> FolderContent:
    """Return what lies in ``folder``, and below it; hidden files do not count.

    Images are told by their ending; files without one, and with one that is no image's, such as the last number of a
    UID, are images if they are DICOM.
    """
    found = folder.rglob("*") if recursive else folder.iterdir()
    files = sorted((file for file in found if not file.name.startswith(".") and file.is_file()), key=natural_key)
    images = {file for file in files if _is_image(file)}
    return FolderContent(
        tuple(file for file in files if file in images), tuple(file for file in files if file not in images)
    )


def describe_skipped(files: Iterable[Path]) -> list[str]:
    """Return one sentence on files that are no images, with their number and kinds; none if there are none."""
    kinds = Counter(file.suffix.lower() or "without ending" for file in set(files))
    if not kinds:
        return []
    listed = [f"{number} {kind}" for kind, number in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
    return [f"Files skipped, being no images: {kinds.total()} ({shorten(listed)})."]


def image_stem(file: Path) -> str:
    """Return the name of an image file without its ending; the numbers of a UID are no endings."""
    return file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers in paths by their value."""
    parts = (part for part in re.split(r"([0-9]+)", path.as_posix()) if part)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _is_image(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix and suffix in IMAGE_SUFFIXES:
        return True
    try:
        with file.open("rb") as stream:
            start = stream.read(_START)
    except OSError:
        return not suffix  # reading it will say what is wrong
    return start[128:132] == b"DICM" or (not suffix and is_dicom(start))
