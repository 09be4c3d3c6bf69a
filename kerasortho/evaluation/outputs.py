"""Which file names results get: one name a source, kept between calls, so that no result overwrites another's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kerasortho.data.image_files import FolderContent, describe_skipped, image_stem, search_folder
from kerasortho.errors import KerasOrthoError
from kerasortho.files import write_json
from kerasortho.radiograph.reading import IMAGE_SUFFIXES

SOURCES = "sources.json"  # in the folder of results: name -> source file


def gather_files(given: Iterable[str | os.PathLike[str]], output: Path | None) -> list[Path]:
    """Return the files to read: files as ``given``, folders searched for images, each file once.

    The folder of results ``output`` is not searched. What is skipped in folders is told on stderr.
    Raises KerasOrthoError for a folder without images, or where nothing is given.
    """
    files: dict[Path, Path] = {}
    others: list[Path] = []
    for path in map(Path, given):
        content = _search(path, output) if path.is_dir() else FolderContent((path,), ())
        others += content.others
        for file in content.images:
            files.setdefault(file.resolve(), file)
    if not files:
        raise KerasOrthoError("No file is named. Name image files, or folders of them.")
    for note in describe_skipped(others):
        print(note, file=sys.stderr, flush=True)
    return list(files.values())


def result_names(files: Sequence[Path], output: Path) -> list[str]:
    """Return a name for the results of each file in folder ``output``: its stem, with a number where that is taken.

    The same file gets the same name again, if that was recorded (see `record_sources`), and two files of one stem never
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
            names[source] = _free_name(image_stem(file), taken)
            taken.add(names[source].lower())
        chosen.append(names[source])
    return chosen


def record_sources(names: Sequence[str], files: Sequence[Path], output: Path) -> None:
    """Add to ``sources.json`` in folder ``output`` which file each of ``names`` stands for.

    Done before the first result is written, so that work that is killed leaves no result of unknown origin;
    `forget_failures` removes those that came to nothing.
    """
    sources = {name: str(file.resolve()) for name, file in zip(names, files, strict=True)}
    write_json(output / SOURCES, {**_known_sources(output), **sources})


def forget_failures(output: Path) -> None:
    """Remove from ``sources.json`` the names without a mask in folder ``output``: their files could not be read."""
    known = _known_sources(output)
    write_json(output / SOURCES, {name: source for name, source in known.items() if mask_file(output / name).is_file()})


def mask_file(stem: Path) -> Path:
    """Return the path of the mask of the results named ``stem``."""
    return stem.with_name(f"{stem.name}_mask.png")


def overlay_file(stem: Path) -> Path:
    """Return the path of the overlay of the results named ``stem``."""
    return stem.with_name(f"{stem.name}_overlay.png")


def _search(folder: Path, output: Path | None) -> FolderContent:
    results = None if output is None else output.resolve()

    def given(files: Iterable[Path]) -> tuple[Path, ...]:
        return tuple(file for file in files if results is None or results not in file.resolve().parents)

    found = search_folder(folder)
    content = FolderContent(given(found.images), given(found.others))
    if not content.images:
        endings = " ".join(sorted(suffix for suffix in IMAGE_SUFFIXES if suffix))
        raise KerasOrthoError(
            f"The folder {folder} holds no image ({endings}, or DICOM of any name). Is it the right one?"
        )
    return content


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
