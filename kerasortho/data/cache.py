"""Where prepared images are kept: in memory, in a folder of the disk, or nowhere; and what that folder holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kerasortho.errors import KerasOrthoError
from kerasortho.files import explain_os_error, locked
from kerasortho.machine import available_memory
from kerasortho.radiograph.preprocessing import Preprocessing
from kerasortho.words import byte_size

COMPLETE = "complete.json"  # in an entry whose files are whole; its time is that of the last use
MEMORY_SHARE = 0.3  # of the memory available now that prepared images may take
_ENTRY = re.compile(r"[0-9a-f]{32}|\.[0-9a-f]{32}\.partial")
_DAY = 86_400  # seconds

Place = Literal["memory", "disk", "none"]


def choose_place(
    images: int, spec: Preprocessing, *, wanted: str, folder: Path, on_disk: bool = False
) -> tuple[Place, int]:
    """Return where prepared images go and how many bytes they take, by what memory and disk have left.

    ``wanted`` is data.cache: "auto", or the user's choice; ``on_disk`` tells that they lie in ``folder`` already.
    Raises KerasOrthoError if the user's choice cannot fit.
    """
    size = images * spec.size[0] * spec.size[1] * 3
    memory, disk = available_memory(), _free_disk(folder)
    if wanted == "memory" and size > memory:
        raise KerasOrthoError(_does_not_fit("data.cache: memory", size, memory, "of memory available"))
    if wanted == "disk" and size > disk and not on_disk:
        raise KerasOrthoError(_does_not_fit("data.cache: disk", size, disk, f"free at {folder}"))
    if wanted == "auto" and on_disk:
        wanted = "disk"
    elif wanted == "auto":
        wanted = "memory" if size < MEMORY_SHARE * memory else "disk" if 2 * size < disk else "none"
    return wanted, size  # type: ignore[return-value]


def cache_folder(configured: str | None) -> Path:
    """Return the folder of prepared images: data.cache_dir, $KERASORTHO_CACHE or ~/.cache/kerasortho."""
    chosen = Path(configured or os.environ.get("KERASORTHO_CACHE") or "~/.cache/kerasortho")
    return chosen.expanduser() / "prepared"


@dataclass(frozen=True)
class CacheEntry:
    """The prepared images of one split: how many, their size (h, w), bytes on disk, and when they were last used.

    ``images`` is 0 for what a killed process has left.
    """

    folder: Path
    images: int
    size: tuple[int, int]
    bytes: int
    used: float  # seconds since 1970


def list_entries(folder: Path, *, older_than: float = 0) -> list[CacheEntry]:
    """Return what ``folder`` holds that was not used in the last ``older_than`` days, the longest unused first."""
    if not folder.is_dir():
        return []
    entries = [_entry(found) for found in folder.iterdir() if _ENTRY.fullmatch(found.name) and found.is_dir()]
    latest = time.time() - older_than * _DAY
    return sorted((entry for entry in entries if entry.used <= latest), key=lambda entry: entry.used)


def clear(entries: Sequence[CacheEntry]) -> list[CacheEntry]:
    """Delete ``entries`` and return those that are gone; one that is being written now stays.

    A training that uses one goes on. Raises KerasOrthoError where one cannot be deleted.
    """
    gone = []
    for entry in entries:
        name = entry.folder.name.removeprefix(".").removesuffix(".partial")
        with suppress(BlockingIOError), locked(lock_of(entry.folder.with_name(name))):
            try:
                shutil.rmtree(entry.folder)
            except OSError as error:
                raise explain_os_error(error, entry.folder) from error
            gone.append(entry)
    return gone


def lock_of(entry: Path) -> Path:
    """Return the lock file that a process holds while it writes ``entry``."""
    return entry.with_name(f".{entry.name}.lock")


def partial_of(entry: Path) -> Path:
    """Return the folder that ``entry`` is written in, until it is whole."""
    return entry.with_name(f".{entry.name}.partial")


def mark_used(entry: Path) -> None:
    """Note that ``entry`` is in use now; where that cannot be written, it only looks older than it is."""
    with suppress(OSError):
        os.utime(entry / COMPLETE)


def _entry(folder: Path) -> CacheEntry:
    files = [file.stat() for file in folder.iterdir() if file.is_file()]
    try:
        told = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        images, height, width = int(told["images"]), *map(int, told["size"])
        used = (folder / COMPLETE).stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        images = height = width = 0
        used = max((status.st_mtime for status in files), default=folder.stat().st_mtime)
    return CacheEntry(folder, images, (height, width), sum(status.st_size for status in files), used)


def _does_not_fit(key: str, size: int, free: int, where: str) -> str:
    return (
        f"{key}: the prepared images need {byte_size(size)}, but there are {byte_size(free)} {where}. "
        "Use data.cache: auto, or a smaller preprocessing.size."
    )


def _free_disk(folder: Path) -> int:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return shutil.disk_usage(existing).free
