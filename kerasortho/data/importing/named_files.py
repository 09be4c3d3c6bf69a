"""Finding image files by the names that annotation files and lists give them."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from kerasortho.errors import KerasOrthoError

_DRIVE = re.compile("[A-Za-z]:")

Parts = tuple[str, ...]


class NamedFiles:
    """The files of a folder, to be asked for by name: with sub-folders or without, with ``/`` or with ``\\``.

    A name is that of a file if one path is the end of the other: ``hand/1.png`` and ``C:\\xray\\hand\\1.png`` name the
    file ``hand/1.png``, and so does ``1.png`` if there is no other file of that name.
    Letters with accents may be composed or not; macOS writes them in two characters.

    Args:
        root: the folder.
        files: files below it.
    """

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self.root = root
        self._by_parts: dict[Parts, Path] = {}
        self._by_name: dict[str, list[Parts]] = defaultdict(list)
        for file in files:
            parts = _parts(file.relative_to(root).as_posix())
            first = self._by_parts.setdefault(parts, file)
            if first != file:
                raise KerasOrthoError(f"{first} and {file} are named alike, but for how their letters are coded.")
            self._by_name[parts[-1]].append(parts)

    def find(self, name: str) -> Path | None:
        """Return the file of that name, None if there is none. Raises KerasOrthoError if there are several."""
        wanted = _parts(name)
        if not wanted:
            return None
        if wanted in self._by_parts:
            return self._by_parts[wanted]
        found = [parts for parts in self._by_name.get(wanted[-1], ()) if _one_ends_with_other(parts, wanted)]
        if len(found) > 1:
            raise KerasOrthoError(
                f"{name} may be {self._by_parts[found[0]]} or {self._by_parts[found[1]]}: the name does not tell. "
                "Give one of the files another name, or name them with their sub-folders."
            )
        return self._by_parts[found[0]] if found else None


def _parts(name: str) -> Parts:
    parts: list[str] = []
    for part in re.split(r"[/\\]", unicodedata.normalize("NFC", name)):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", ".") and not (not parts and _DRIVE.fullmatch(part)):
            parts.append(part)
    return tuple(parts)


def _one_ends_with_other(first: Parts, second: Parts) -> bool:
    length = min(len(first), len(second))
    return first[-length:] == second[-length:]
