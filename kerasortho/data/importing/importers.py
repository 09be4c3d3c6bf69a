"""From a user's folders to a manifest: class folders, or pairs of images and masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.image_files import (
    describe_skipped,
    image_stem,
    natural_key,
    require_folder,
    search_folder,
)
from kerasortho.data.importing.pairing import find_pairs
from kerasortho.data.manifest import Manifest, Row, path_columns, read_csv_rows, relative_cell, shorten, write_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Imported:
    """What an importer wrote, and what it noticed on the way, in sentences for the user."""

    manifest: Manifest
    notes: tuple[str, ...]


def import_classes(folder: PathLike, output: PathLike, *, overwrite: bool = False) -> Imported:
    """Write a manifest of a folder whose sub-folders are classes: ``hand/0001.png`` gets the label ``hand``.

    Images may lie at any depth below their class folder.

    Raises:
        KerasOrthoError: no such folder, no class folders, no images, or ``output`` exists and ``overwrite`` is not set.
    """
    root, target = require_folder(folder), new_output(output, overwrite)
    classes = sorted(
        (entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")), key=natural_key
    )
    found = {entry.name: search_folder(entry) for entry in classes}
    images = {name: content.images for name, content in found.items()}
    if not any(images.values()):
        raise KerasOrthoError(
            f"{root} has no sub-folders with images. Make one for each class, such as {root / 'hand' / '0001.png'}."
        )
    notes = [f"The folder {name} has no images." for name, files in images.items() if not files]
    loose = search_folder(root, recursive=False)
    if loose.images:
        names = shorten(file.name for file in loose.images)
        lying = counted(len(loose.images), "image lies", "images lie")
        notes.append(f"Left out, for {lying} in no class folder: {names}.")
    notes += describe_skipped(file for content in (loose, *found.values()) for file in content.others)
    rows = [{"image": cell_for(file, target), "label": name} for name, files in images.items() for file in files]
    return finish_import(target, ("image", "label"), rows, notes)


def import_pairs(
    images: PathLike,
    masks: PathLike,
    output: PathLike,
    *,
    ignore: PathLike | None = None,
    columns: PathLike | None = None,
    columns_key: str = "image",
    skip_unmatched: bool = False,
    overwrite: bool = False,
) -> Imported:
    """Write a manifest of images and masks that share their file names up to the ending.

    Args:
        images: folder of images, searched with its sub-folders.
        masks: folder of masks, searched with its sub-folders.
        output: the manifest to write.
        ignore: folder of masks of doubtful pixels; not every image needs one.
        columns: a CSV whose further columns are taken over, as far as it has the image.
        columns_key: its column that names the image, with or without ending.
        skip_unmatched: leave out images without a mask, instead of refusing.
        overwrite: replace ``output`` if it exists.

    Raises:
        KerasOrthoError: missing folders, images without mask or masks without image, names that are not unique.
    """
    target = new_output(output, overwrite)
    pairs = find_pairs(images, masks, ignore, skip_unmatched=skip_unmatched)
    notes = [*pairs.notes]
    extra_names, extra, told = _extra_columns(columns, columns_key) if columns is not None else ((), {}, [])
    rows = []
    for stem, file in pairs.image_of.items():
        row = {"image": cell_for(file, target), "mask": cell_for(pairs.mask_of[stem], target)}
        if ignore is not None:
            row["ignore"] = cell_for(pairs.ignore_of[stem], target) if stem in pairs.ignore_of else ""
        rows.append(row | (extra.get(stem) or dict.fromkeys(extra_names, "")))
    if columns is not None:
        without = [file.name for stem, file in pairs.image_of.items() if stem not in extra]
        if without:
            lacking = counted(len(without), "image has", "images have")
            notes.append(f"{lacking} no line in {columns}: {shorten(without)}.")
        notes += told
    return finish_import(target, tuple(rows[0]), rows, notes)


def new_output(output: PathLike, overwrite: bool) -> Path:
    """Return the path of a manifest to be written. Raises KerasOrthoError if it exists and is not to be overwritten."""
    path = Path(output)
    if path.is_dir():
        raise KerasOrthoError(f"{path} is a folder. Name the CSV file to write, such as {path / 'manifest.csv'}.")
    if path.exists() and not overwrite:
        raise KerasOrthoError(
            f"{path} exists already, perhaps with a split in it. Choose another name, or --overwrite it."
        )
    return path


def cell_for(file: Path, target: Path) -> str:
    """Return the cell that names ``file`` in a manifest written to ``target``."""
    return relative_cell(file, target.parent)


def finish_import(target: Path, columns: Sequence[str], rows: Iterable[Row], notes: Iterable[str]) -> Imported:
    """Write the manifest and return it with the notes."""
    manifest = Manifest(target, tuple(columns), tuple(rows))
    write_manifest(manifest)
    return Imported(manifest, tuple(notes))


def _extra_columns(path: PathLike, key: str) -> tuple[tuple[str, ...], dict[str, dict[str, str]], list[str]]:
    """Return the further columns of a CSV, their cells by image stem, and which columns were not taken, in words."""
    names, rows = read_csv_rows(path)
    fix = "Name the column that tells the images' names with --columns-key."
    Manifest(Path(path), names, ()).require_column(key, wanted_by="--columns-key", fix=fix)
    dropped = [name for name in path_columns(names) if name != key]
    taken = tuple(name for name in names if name not in {key, *dropped})
    told = [
        f"Column {name} of {path} is not taken: the manifest's own column {name} names files. Rename it to keep it."
        for name in dropped
    ]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        stem = image_stem(Path(row[key]))
        if stem in cells:
            raise KerasOrthoError(f"{path} has two lines for {row[key]} in column {key}. Keep one line an image.")
        cells[stem] = {name: row[name] for name in taken}
    return taken, cells, told
