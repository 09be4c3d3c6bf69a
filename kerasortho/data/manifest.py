"""The manifest: one CSV that names every image of a dataset and what is known about it.

Columns with a fixed meaning, all but ``image`` optional (any other is kept, and can be trained on or stratified by):

========== =============================================================================
image      image file; like ``mask`` and ``ignore``, a path relative to the manifest's folder
mask       mask file of the image's own size, values {0, 1} or {0, 255}
ignore     mask file of doubtful pixels, that neither the loss nor any score counts
label      class of the image
group      patient or study; no group ever crosses splits or folds
grouped_by where the groups came from, as `data split` notes it: a column, ``id-blocks N``, or ``image``
           (each image by itself, patients unknown); empty: they were given
split      ``train``, ``val``, ``test`` or empty (unused)
fold       0, 1, 2, ... for cross-validation, or empty
blank      boxes "x, y, width, height; ..." of the image, in px, that are blanked before a model sees it (text, say)
exclude    reason why the image is left out of everything; empty for the images in use
*_mask     further mask files, such as fracture_mask, that ``data.mask`` may name; paths as in mask
========== =============================================================================
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kerasortho.data.importing.csv_table import misfit, read_table
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.files import write_text
from kerasortho.words import counted, echo

PATH_COLUMNS = ("image", "mask", "ignore")
FIXED_COLUMNS = (*PATH_COLUMNS, "label", "group", "grouped_by", "split", "fold", "blank", "exclude")
SPLITS = ("train", "val", "test")
_SHOWN = 5
_SHOWN_COLUMNS = 30

Row = Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """A dataset: where its CSV lies, its columns in order, its rows with a text cell for every column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def resolve(self, row: Row, column: str) -> Path | None:
        """Return the absolute path that ``row`` names in ``column``; None for an empty cell or no such column."""
        cell = row.get(column, "")
        if not cell:
            return None
        return Path(os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(self.path)), cell)))

    def with_column(self, name: str, values: Sequence[str]) -> Manifest:
        """Return a manifest with column ``name`` replaced, or added at the end; one text value a row."""
        if len(values) != len(self.rows):
            raise ValueError(f"Column {name!r} needs {len(self.rows)} values. Received: {len(values)}")
        columns = self.columns if name in self.columns else (*self.columns, name)
        rows = tuple({**row, name: str(value)} for row, value in zip(self.rows, values, strict=True))
        return replace(self, columns=columns, rows=rows)

    def require_column(self, name: str, *, wanted_by: str = "", fix: str = "") -> None:
        """Raise KerasOrthoError, with a did-you-mean, unless there is a column ``name``.

        ``wanted_by`` tells what names that column, ``fix`` what else can be done.
        """
        if name not in self.columns:
            raise _no_column(self.path, name, self.columns, wanted_by, fix)


def path_columns(columns: Iterable[str]) -> list[str]:
    """Return those of ``columns`` whose cells name files: image, mask, ignore, and any whose name ends in _mask."""
    return [name for name in columns if name in PATH_COLUMNS or name.endswith("_mask")]


def is_excluded(row: Row) -> bool:
    """Tell whether ``row`` gives a reason to leave its image out."""
    return bool(row.get("exclude", ""))


def relative_cell(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """Return the cell for file ``path`` in a manifest that lies in ``folder``: relative, with forward slashes.

    Raises KerasOrthoError for a name that a CSV in UTF-8 cannot hold.
    """
    try:
        cell = os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # another drive, on Windows
        cell = Path(path).absolute().as_posix()
    if cell != cell.rstrip() or "\r" in cell:
        raise KerasOrthoError(
            f"{echo(cell)}: a file name with a blank at its end, or a carriage return, cannot be listed. Rename it."
        )
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise KerasOrthoError(f"{echo(cell)}: a file name that is not UTF-8 cannot be listed. Rename it.") from None
    return f"./{cell}" if cell != cell.lstrip() else cell


def read_manifest(path: str | os.PathLike[str], *, check_files: bool = True) -> Manifest:
    """Read a manifest strictly; comma, semicolon or tab, with or without byte-order mark, any line endings.

    Args:
        path: the CSV file.
        check_files: require that the files named by all rows in use exist (excluded rows may name missing ones).

    Raises:
        KerasOrthoError: no such file, not UTF-8, no ``image`` column, duplicate columns, a row with too few or too many
            cells, an empty or repeated ``image``, an unknown ``split``, a ``fold`` that is no number, missing files.
    """
    source = Path(path)
    columns, lines = read_table(source)
    rows: list[Row] = []
    for number, cells in lines:
        if len(cells) != len(columns):
            raise KerasOrthoError(f"{source}, line {number}: {misfit(cells, columns)}")
        row = dict(zip(columns, cells, strict=True))
        _check_row(row, f"{source}, line {number}")
        rows.append(row)
    if not rows:
        raise KerasOrthoError(f"{source} lists no image: it has a header only.")
    manifest = Manifest(source, columns, tuple(rows))
    _check_repeated_images(manifest, [number for number, _ in lines])
    if check_files:
        _check_files(manifest)
    return manifest


def read_csv_rows(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Read any other CSV with a header as (columns, rows), as tolerant and as strict as a manifest is read."""
    source = Path(path)
    columns, lines = read_table(source)
    for number, cells in lines:
        if len(cells) != len(columns):
            raise KerasOrthoError(f"{source}, line {number}: {misfit(cells, columns)}")
    return columns, [dict(zip(columns, cells, strict=True)) for _, cells in lines]


def write_manifest(manifest: Manifest, path: str | os.PathLike[str] | None = None) -> None:
    """Write a manifest atomically, to its own path or another one, where its relative paths name the same files."""
    target = manifest.path if path is None else Path(path)
    if target.absolute().parent != manifest.path.absolute().parent:
        manifest = _moved(manifest, target)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(manifest.columns)
    writer.writerows([row[column] for column in manifest.columns] for row in manifest.rows)
    write_text(target, text.getvalue())


def manifest_hash(manifest: Manifest, columns: Iterable[str] | None = None) -> str:
    """Return the SHA-256 (hexadecimal) of columns and cells in order, whatever the delimiter and line endings.

    With ``columns``, of those alone, as far as they are there.
    """
    wanted = manifest.columns if columns is None else [column for column in columns if column in manifest.columns]
    content = [list(wanted), *([row[column] for column in wanted] for row in manifest.rows)]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def shorten(items: Iterable[str], shown: int = _SHOWN) -> str:
    """Join the first few of ``items`` with commas and say how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more


def _no_column(
    path: str | Path, name: str, columns: Iterable[str], wanted_by: str = "", fix: str = ""
) -> KerasOrthoError:
    wanted = f", which {wanted_by} names" if wanted_by else ""
    listed = f"Its columns are: {shorten(columns, _SHOWN_COLUMNS)}.{fix and ' ' + fix}"
    return KerasOrthoError(f'{path} has no column "{name}"{wanted}.{did_you_mean(name, columns)} {listed}')


def _check_row(row: Row, place: str) -> None:
    if "image" not in row:
        raise _no_column(place.split(", line")[0], "image", row)
    if not row["image"]:
        raise KerasOrthoError(f"{place}: the cell of column image is empty. Name a file or remove the line.")
    split, fold = row.get("split", ""), row.get("fold", "")
    if split and split not in SPLITS:
        known = did_you_mean(split, SPLITS) or next(
            (f' Did you mean "{name}"?' for name in SPLITS if split.lower().startswith(name)), ""
        )
        raise KerasOrthoError(f"{place}: split must be train, val, test or empty. Received: {echo(split)}.{known}")
    if fold and not (fold.isascii() and fold.isdigit()):
        raise KerasOrthoError(f"{place}: fold must be 0, 1, 2, ... or empty. Received: {echo(fold)}.")


def _check_repeated_images(manifest: Manifest, numbers: list[int]) -> None:
    first: dict[Path | None, int] = {}
    for row, number in zip(manifest.rows, numbers, strict=True):
        image = manifest.resolve(row, "image")
        if image in first:
            raise KerasOrthoError(
                f"{manifest.path}, lines {first[image]} and {number} name the same image {row['image']}. "
                "Keep one line an image."
            )
        first[image] = number


def _check_files(manifest: Manifest) -> None:
    used = [row for row in manifest.rows if not is_excluded(row)]
    for column in path_columns(manifest.columns):
        named = [(row[column], manifest.resolve(row, column)) for row in used if row.get(column)]
        missing = [cell for cell, file in named if file is not None and not file.is_file()]
        if missing:
            windows = " Write paths with / instead of \\." if any("\\" in cell for cell in missing) else ""
            lacking = f"{len(missing)} of {counted(len(named), 'file')} in column {column}"
            raise KerasOrthoError(
                f"{manifest.path}: {lacking} {'is' if len(missing) == 1 else 'are'} missing: {shorten(missing)}. "
                f"Paths are relative to {manifest.path.absolute().parent}.{windows} Correct them, "
                "or give those rows a reason in column exclude."
            )


def _moved(manifest: Manifest, target: Path) -> Manifest:
    """Return the manifest as it reads from another folder."""
    for column in path_columns(manifest.columns):
        files = [manifest.resolve(row, column) for row in manifest.rows]
        cells = ["" if file is None else relative_cell(file, target.absolute().parent) for file in files]
        manifest = manifest.with_column(column, cells)
    return replace(manifest, path=target)
