"""Reading a CSV file that people and spreadsheets have written: any delimiter, and what Excel adds to a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted, echo

_EXCEL_DELIMITER = re.compile(r'\s*"?sep=(?P<delimiter>[,;\t])"?[ ,;\t]*(\r\n|\r|\n)', re.I)

Line = tuple[int, list[str]]


def read_table(source: Path) -> tuple[tuple[str, ...], list[Line]]:
    """Return the header of a CSV file and its numbered lines, without blanks around cells.

    Comma, semicolon or tab, with or without byte-order mark, any line endings. Empty lines and empty columns at the
    right do not count, and a first line ``sep=;`` names the delimiter: Excel writes these.

    Raises:
        KerasOrthoError: no such file, not UTF-8, damaged, or two columns of one name.
    """
    text, delimiter = _without_excel_delimiter(_read_text(source))
    header = text.lstrip().splitlines()[0] if text.strip() else ""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter or max(",;\t", key=header.count), strict=True
    )
    lines: list[Line] = []
    begin = 1
    skipped = 1 if delimiter else 0
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                lines.append((reader.line_num + skipped, stripped))
            begin = reader.line_num + 1
    except csv.Error as error:
        quote = " A quote that opens in this line is not closed, or not by the end of its cell."
        hint = quote if any('"' in line for line in text.splitlines()[begin - 1 : begin]) else ""
        raise KerasOrthoError(f"{source}, line {begin + skipped}: not readable as CSV ({error}).{hint}") from error
    if not lines:
        raise KerasOrthoError(f"{source} is empty: a header line is needed, with the column image at least.")
    columns = _without_empty_end(lines[0][1], 0)
    _check_columns(columns, source)
    return tuple(columns), [(number, _without_empty_end(cells, len(columns))) for number, cells in lines[1:]]


def misfit(cells: Sequence[str], columns: Sequence[str]) -> str:
    """Return, in words, that a line has another number of cells than the header has columns."""
    where = f"{counted(len(cells), 'cell')} where the header has {counted(len(columns), 'column')}."
    if len(cells) < len(columns):
        return f"{where} Cells that are empty need their delimiters too, also at the end of a line."
    return f"{where} A comma inside a cell needs quotes around the cell."


def _read_text(source: Path) -> str:
    try:
        data = source.read_bytes()
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise KerasOrthoError(f'{source} is UTF-16 text. Save it as CSV in UTF-8 (in Excel: "CSV UTF-8").')
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise KerasOrthoError(
            f"{source} is not UTF-8 text (byte {error.start}, in line {line}), but perhaps Latin-1 or Windows-1252. "
            'Save it as CSV in UTF-8 (in Excel: "CSV UTF-8"): guessing would garble names.'
        ) from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise KerasOrthoError(f"Cannot read {source}: {reason}. `kerasortho data import` writes a manifest.") from error


def _without_excel_delimiter(text: str) -> tuple[str, str]:
    """Return the text below a first line such as ``sep=;``, and that delimiter; all of it, and '', without one."""
    found = _EXCEL_DELIMITER.match(text)
    return (text[found.end() :], found["delimiter"]) if found else (text, "")


def _without_empty_end(cells: list[str], least: int) -> list[str]:
    """Cut off empty cells at the end, down to ``least`` cells."""
    kept = len(cells)
    while kept > least and not cells[kept - 1]:
        kept -= 1
    return cells[:kept]


def _check_columns(columns: Sequence[str], source: Path) -> None:
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise KerasOrthoError(
            f"{source} has the column {echo(repeated[0])} more than once. Rename or remove one of them."
        )
