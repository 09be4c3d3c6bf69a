"""Where an importer puts the masks that it draws: a folder beside the manifest, one file an image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from kerasortho.data.image_files import image_stem
from kerasortho.errors import KerasOrthoError


def new_folder(target: Path, kind: str, overwrite: bool) -> Path:
    """Return the folder ``<manifest name>-<kind>`` beside a manifest to be written, such as ``bones-masks``.

    Raises KerasOrthoError if there is such a folder with files in it and ``overwrite`` is not set: they may be drawn
    by hand.
    """
    folder = target.parent / f"{target.stem}-{kind}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise KerasOrthoError(
            f"{folder}, where {kind} are to be written, exists already. Choose another name for {target.name}, "
            "move that folder away, or --overwrite what is in it."
        )
    return folder


def outside(files: Iterable[Path], folders: Iterable[Path]) -> list[Path]:
    """Return the files that lie in none of the folders: what an importer has written is no image of its own."""
    starts = tuple(f"{os.path.abspath(folder)}{os.sep}" for folder in folders)
    return [file for file in files if not os.path.abspath(file).startswith(starts)]


def png_names(files: Sequence[Path], root: Path, folder: Path) -> dict[Path, Path]:
    """Return for each file below ``root`` the PNG file of the same name and sub-folders below ``folder``.

    ``1.jpg`` becomes ``1.png``; where there is ``1.tif`` too, they become ``1.jpg.png`` and ``1.tif.png``.
    """
    short = {file: file.relative_to(root).with_name(f"{image_stem(file)}.png") for file in files}
    times = Counter(path.as_posix().casefold() for path in short.values())
    return {
        file: folder / (path if times[path.as_posix().casefold()] == 1 else path.with_name(f"{file.name}.png"))
        for file, path in short.items()
    }
