"""Which files of a folder are images, and what the others are."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.manifest import shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import IMAGE_SUFFIXES, is_dicom

_START = 256  # bytes that tell whether a file is DICOM


@dataclass(frozen=True)
class FolderContent:
    """The image files of a folder, in natural order (2 before 10), and the files that are none."""

    images: tuple[Path, ...]
    others: tuple[Path, ...]


def require_folder(folder: str | os.PathLike[str]) -> Path:
    """Return ``folder`` as a Path. Raises KerasOrthoError unless it is one."""
    path = Path(folder)
    if not path.is_dir():
        raise KerasOrthoError(f"There is no folder {path}.")
    return path


def search_folder(folder: Path, *, recursive: bool = True) -> FolderContent:
    """Return what lies in ``folder``, and below it; hidden files and folders do not count.

    Images are told by their ending; files without one, and with one that is no image's, such as the last number of a
    UID, are images if they are DICOM. Links are followed, each folder is searched once: links may lead in circles.

    Raises:
        KerasOrthoError: a folder cannot be read; its images would be missing without a word.
    """
    images: list[Path] = []
    others: list[Path] = []
    for file, exists in _files_below(folder, recursive):
        (images if exists and _is_image(file) else others).append(file)
    return FolderContent(tuple(sorted(images, key=natural_key)), tuple(sorted(others, key=natural_key)))


def _files_below(folder: Path, recursive: bool) -> Iterator[tuple[Path, bool]]:
    """Yield the files of a folder and its sub-folders, and for each whether it exists: a link may lead nowhere.

    Real folders come before links, which may lead to them.
    """
    seen: set[tuple[int, int]] = set()
    folders, linked = deque([folder]), deque[Path]()
    while folders or linked:
        current = folders.popleft() if folders else linked.popleft()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                content = [(entry, _what(entry)) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise KerasOrthoError(
                f"The folder {current} cannot be searched: {error.strerror or error}. "
                "Change its permissions, or move it elsewhere."
            ) from error
        for entry, what in content:
            if what in ("file", "dead link"):
                yield Path(entry.path), what == "file"
            elif what == "folder" and recursive:
                (linked if entry.is_symlink() else folders).append(Path(entry.path))


def _what(entry: os.DirEntry[str]) -> str:
    """Return "folder", "file", "dead link", or "" for a device or a pipe: reading it may hang."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return "dead link" if entry.is_symlink() and not os.path.exists(entry.path) else ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "dead link"
        raise


def describe_skipped(files: Iterable[Path]) -> list[str]:
    """Return one sentence on files that are no images, with their number and kinds; none if there are none."""
    kinds = Counter(_kind(file) for file in set(files))
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
    return [(0, int(part), "") if "0" <= part[0] <= "9" else (1, 0, part) for part in parts]


def _kind(file: Path) -> str:
    if file.is_symlink() and not file.exists():
        return "leading nowhere (links)"
    return file.suffix.lower() or "without ending"


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
