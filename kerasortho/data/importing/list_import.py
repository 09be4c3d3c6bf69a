"""From a list of images in a CSV file, with columns of any name, to a manifest."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.image_files import require_folder, search_folder
from kerasortho.data.importing.csv_table import misfit, read_table
from kerasortho.data.importing.importers import Imported, PathLike, cell_for, finish_import, new_output
from kerasortho.data.importing.named_files import NamedFiles
from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.data.manifest import PATH_COLUMNS, SPLITS, Manifest, shorten
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import counted, echo

SPLIT_NAMES = {
    **{name: "train" for name in ("train", "training")},
    **{name: "val" for name in ("val", "valid", "validation", "validate", "dev", "development")},
    **{name: "test" for name in ("test", "testing")},
}
"""What lists call the splits, in small letters, and what a manifest calls them."""

_IDENTITIES = re.compile(
    r"patient(s)?(id|name|number|nr|birth|address)|birth(date|day)|dateofbirth|(first|last|sur|family|given)name|^mrn$"
    r"|medicalrecord|accession"
)


@dataclass(frozen=True)
class ListColumns:
    """The columns of a list by what they hold; None: the list has none."""

    image: str = "image"
    mask: str | None = None
    ignore: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None

    def named(self) -> dict[str, str]:
        """Return the manifest's columns that the list has, each with the list's name for it."""
        return {column: name for column, name in vars(self).items() if name is not None}


@dataclass(frozen=True)
class _Line:
    """One line of the list: its number, its cells by column, and its files by the manifest's column."""

    number: int
    cells: Mapping[str, str]
    files: Mapping[str, Path | None]


def import_list(
    source: PathLike,
    output: PathLike,
    columns: ListColumns,
    *,
    root: PathLike | None = None,
    keep: Sequence[str] = (),
    keep_groups: bool = False,
    salt_env: str | None = None,
    skip_missing: bool = False,
    overwrite: bool = False,
) -> Imported:
    """Write a manifest of the images in a CSV file.

    Args:
        source: the list; comma, semicolon or tab, UTF-8.
        output: the manifest to write.
        columns: what the list calls its columns. All others are left out, for they may tell who the patients are.
        root: the folder from which paths start; None: the folder of the list. Where it is given, paths that lead
            nowhere (``C:\\xray\\1.png``) are searched below it by their ends.
        keep: further columns to take over as they are.
        keep_groups: take over the groups as they are: they identify nobody. Otherwise they become pseudonyms.
        salt_env: environment variable with the salt of the pseudonyms; None: a random one, that is never stored.
        skip_missing: leave out lines whose files are missing, instead of refusing.
        overwrite: replace ``output`` if it exists.

    Raises:
        KerasOrthoError: a column or a file is missing, an image is listed twice, a path fits several files, a split has
            a name that is not known, or ``output`` exists.
    """
    target = new_output(output, overwrite)
    if keep_groups and salt_env:
        raise KerasOrthoError("--keep-groups and --salt-env exclude each other. Choose one.")
    table, lines = _read_list(Path(source), columns, keep)
    finder = _Finder(require_folder(Path(source).absolute().parent if root is None else root), root is not None)
    read, missing = _find_files(lines, columns, finder)
    told = _describe_missing(missing, Path(source), finder.root, skip_missing)
    _refuse_repeated(read, Path(source))
    if not read:
        raise KerasOrthoError(f"None of the images of {source} is there, below {finder.root}. Name it with --root.")
    pseudonyms = None if keep_groups or columns.group is None else Pseudonyms.from_environment(salt_env)
    rows = [_row(line, columns, keep, target, pseudonyms, Path(source)) for line in read]
    told += finder.notes()
    if columns.split is not None:
        told += _describe_splits(line.cells[columns.split] for line in read)
    if pseudonyms is not None:
        told.append(
            f"The groups of column {columns.group} are pseudonyms now; --keep-groups keeps those that identify nobody."
        )
    idle = [name for name in table if name not in {*columns.named().values(), *keep}]
    if idle:
        told.append(
            f"Columns not taken: {shorten(idle, 30)}. Name those that identify nobody with --keep to take them."
        )
    return finish_import(target, tuple(rows[0]), rows, told)


def _read_list(
    source: Path, columns: ListColumns, keep: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Return the list's columns and its numbered lines, after the columns that are wanted have been checked."""
    names, lines = read_table(source)
    listed = Manifest(source, names, ())
    for column, name in columns.named().items():
        listed.require_column(name, wanted_by=f"--{column}-col")
    for name in keep:
        listed.require_column(name, wanted_by="--keep")
        if name in vars(columns):
            raise KerasOrthoError(f"--keep {name}: a manifest's column {name} has a meaning. Use --{name}-col {name}.")
        if _IDENTITIES.search(re.sub("[^a-z]", "", name.lower())):
            raise KerasOrthoError(
                f"--keep {name}: a column of that name tells who the patients are, and a manifest must not. "
                "--group-col takes patient IDs as pseudonyms."
            )
    for number, cells in lines:
        if len(cells) != len(names):
            raise KerasOrthoError(f"{source}, line {number}: {misfit(cells, names)}")
        if not cells[names.index(columns.image)]:
            raise KerasOrthoError(f"{source}, line {number}: the cell of column {columns.image} is empty.")
    if not lines:
        raise KerasOrthoError(f"{source} lists no image: it has a header only.")
    return names, [(number, dict(zip(names, cells, strict=True))) for number, cells in lines]


class _Finder:
    """Finds the files that cells name, and counts those it had to search for."""

    def __init__(self, root: Path, search: bool) -> None:
        self.root = root
        self.searched: list[str] = []
        self._search = search
        self._named: NamedFiles | None = None

    def find(self, cell: str) -> Path | None:
        """Return the file, None if there is none. Raises KerasOrthoError where several may be meant."""
        for text in dict.fromkeys((cell, cell.replace("\\", "/"))):
            file = Path(os.path.normpath(self.root / text))
            if file.is_file():
                return file
        if not self._search:
            return None
        if self._named is None:
            self._named = NamedFiles(self.root, search_folder(self.root).images)
        found = self._named.find(cell)
        if found is not None:
            self.searched.append(cell)
        return found

    def notes(self) -> list[str]:
        """Return a sentence on the files that were searched for."""
        if not self.searched:
            return []
        files = counted(len(self.searched), "file is", "files are")
        return [f"{files} not where the list says, but found below {self.root}: {shorten(self.searched, 3)}."]


def _find_files(
    lines: Iterable[tuple[int, dict[str, str]]], columns: ListColumns, finder: _Finder
) -> tuple[list[_Line], list[str]]:
    """Return the lines whose files are there, and the cells whose files are not."""
    read, missing = [], []
    wanted = {column: name for column, name in columns.named().items() if column in PATH_COLUMNS}
    for number, cells in lines:
        files = {column: finder.find(cells[name]) if cells[name] else None for column, name in wanted.items()}
        lacking = [cells[name] for column, name in wanted.items() if cells[name] and files[column] is None]
        missing += lacking
        if not lacking:
            read.append(_Line(number, cells, files))
    return read, missing


def _describe_missing(missing: Sequence[str], source: Path, root: Path, skip: bool) -> list[str]:
    if not missing:
        return []
    lacking = counted(len(missing), "file of {} is", "files of {} are").format(source)
    message = f"{lacking} missing below {root}: {shorten(missing)}."
    if not skip:
        raise KerasOrthoError(
            f"{message} Name the folder from which the paths start with --root, or leave the lines out with "
            "--skip-missing."
        )
    return [f"{message} The lines are left out."]


def _refuse_repeated(lines: Iterable[_Line], source: Path) -> None:
    first: dict[Path | None, int] = {}
    for line in lines:
        image = line.files["image"]
        if image in first:
            raise KerasOrthoError(
                f"{source}, lines {first[image]} and {line.number} name the same image {image}. Keep one line an image."
            )
        first[image] = line.number


def _row(
    line: _Line,
    columns: ListColumns,
    keep: Sequence[str],
    target: Path,
    pseudonyms: Pseudonyms | None,
    source: Path,
) -> dict[str, str]:
    row = {}
    for column, name in columns.named().items():
        cell = line.cells[name]
        if column in PATH_COLUMNS:
            file = line.files[column]
            cell = "" if file is None else cell_for(file, target)
        elif column == "group" and pseudonyms is not None and cell:
            cell = pseudonyms.name(cell)
        elif column == "split" and cell:
            cell = _split_of(cell, f"{source}, line {line.number}")
        row[column] = cell
    return row | {name: line.cells[name] for name in keep}


def _split_of(cell: str, place: str) -> str:
    if cell.lower() not in SPLIT_NAMES:
        hint = did_you_mean(cell, SPLIT_NAMES) or " Known are: train, val, test, and what they are often called."
        raise KerasOrthoError(f"{place}: {echo(cell)} is no split that is known.{hint} Empty: the image is not used.")
    return SPLIT_NAMES[cell.lower()]


def _describe_splits(cells: Iterable[str]) -> list[str]:
    renamed = Counter(cell for cell in cells if cell and cell not in SPLITS)
    if not renamed:
        return []
    listed = [f"{name} is {SPLIT_NAMES[name.lower()]} ({counted(number, 'image')})" for name, number in renamed.items()]
    return [f"Splits renamed: {', '.join(listed)}."]
