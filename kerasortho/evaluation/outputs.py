"""Which file names results get: one name a source, kept between calls, so that no result overwrites another's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from kerasortho.data.importers import find_images
from kerasortho.errors import KerasOrthoError
from kerasortho.files import write_json
from kerasortho.radiograph.reading import IMAGE_SUFFIXES, is_dicom

SOURCES = "sources.json"  # in the folder of results: name -> source file
_DICOM_START = 256  # bytes that tell whether a file is DICOM


def gather_files(given: Iterable[str | os.PathLike[str]], output: Path | None) -> list[Path]:
    """Return the files to read: files as ``given``, folders searched for images, each file once.

    The folder of results ``output`` is not searched, and of files without an ending only DICOM files are taken.
    Raises KerasOrthoError for a folder without images, or where nothing is given.
    """
    files: dict[Path, Path] = {}
    for path in map(Path, given):
        for file in _images_in(path, output) if path.is_dir() else [path]:
            files.setdefault(file.resolve(), file)
    if not files:
        raise KerasOrthoError("No file is named. Name image files, or folders of them.")
    return list(files.values())


def result_names(files: Sequence[Path], output: Path) -> list[str]:
    """Return a name for the results of each file in folder ``output``: its stem, with a number where that is taken.

    The names are recorded in ``sources.json``: the same file gets the same name again, and two files of one stem never
    the same, not even in different calls. A result file of unknown origin is not overwritten.
    """
    known = _known_sources(output)
    names = {source: name for name, source in known.items()}
    taken = {name.lower() for name in known}  # lower: some file systems do not tell A from a
    taken |= {file.name.lower().rpartition("_")[0] for file in output.glob("*_*.png")}
    chosen = []
    for file in files:
        source = str(file.resolve())
        if source not in names:
            stem = file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name
            names[source] = _free_name(stem, taken)
            taken.add(names[source].lower())
        chosen.append(names[source])
    write_json(output / SOURCES, {name: source for source, name in names.items()})
    return chosen


def _images_in(folder: Path, output: Path | None) -> list[Path]:
    results = None if output is None else output.resolve()
    found = [file for file in find_images(folder) if results is None or results not in file.resolve().parents]
    images = [file for file in found if file.suffix or _begins_like_dicom(file)]
    if not images:
        endings = " ".join(sorted(suffix for suffix in IMAGE_SUFFIXES if suffix))
        raise KerasOrthoError(
            f"The folder {folder} holds no image ({endings}, or DICOM without an ending). Is it the right one?"
        )
    return images


def _begins_like_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return is_dicom(stream.read(_DICOM_START))
    except OSError:
        return True  # reading it will say what is wrong


def _free_name(stem: str, taken: set[str]) -> str:
    name, number = stem, 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _known_sources(output: Path) -> dict[str, str]:
    file = output / SOURCES
    if not file.is_file():
        return {}
    try:
        return {str(name): str(source) for name, source in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        raise KerasOrthoError(f"{file} cannot be read. Delete it, or choose another --output.") from None
