"""What exports have in common: which rows of a manifest they take, and reading an image with its masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasortho.data.inspection import reason
from kerasortho.data.manifest import Manifest, Row, is_excluded, shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_mask, read_radiograph
from kerasortho.words import counted

_EIGHT_BIT_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")


@dataclass(frozen=True)
class ExportCase:
    """One row of a manifest: the row, and its files; None where it names none."""

    row: Row
    image: Path
    mask: Path | None
    ignore: Path | None


@dataclass(frozen=True)
class LoadedCase:
    """What the files of a row hold.

    grey: (H, W) uint8 or uint16, bone bright, stored pixels. mask, ignore: (H, W) bool, None where there is none.
    turned: the file has an EXIF orientation, which was not applied. problem: why the files cannot be used, or ''.
    """

    grey: np.ndarray
    mask: np.ndarray | None = None
    ignore: np.ndarray | None = None
    turned: bool = False
    problem: str = ""


def cases_of(manifest: Manifest, left_out: Counter[str]) -> list[ExportCase]:
    """Return the rows in use; how many others there are is counted in ``left_out`` by reason."""
    cases = []
    for row in manifest.rows:
        image = manifest.resolve(row, "image")
        if is_excluded(row):
            left_out["excluded"] += 1
        elif image is not None:
            cases.append(ExportCase(row, image, manifest.resolve(row, "mask"), manifest.resolve(row, "ignore")))
    return cases


def load_case(case: ExportCase) -> LoadedCase:
    """Read the files of a row. Raises nothing for bad files: the problem is part of the answer."""
    nothing = np.zeros((0, 0), np.uint8)
    try:
        radiograph = read_radiograph(case.image)
    except KerasOrthoError as error:
        return LoadedCase(nothing, problem=reason(error, case.image))
    tags = radiograph.tags
    eight = tags.get("bits") == 8 and tags.get("format") in _EIGHT_BIT_FORMATS
    grey = np.rint(radiograph.pixels * (255 if eight else 65535)).astype(np.uint8 if eight else np.uint16)
    drawn: list[np.ndarray | None] = []
    for file, what in ((case.mask, "mask"), (case.ignore, "ignore mask")):
        try:
            drawn.append(None if file is None else read_mask(file).astype(bool))
        except KerasOrthoError as error:
            return LoadedCase(nothing, problem=f"{what}: {reason(error, file) if file else error}")
        last = drawn[-1]
        if last is not None and last.shape != grey.shape:
            sizes = [f"{width}x{height}" for height, width in (last.shape, grey.shape)]
            return LoadedCase(nothing, problem=f"{what}: it has {sizes[0]} pixels, but the image has {sizes[1]}")
    return LoadedCase(grey, drawn[0], drawn[1], turned=(tags.get("exif_orientation") or 1) != 1)


def describe_left_out(left_out: Mapping[str, int], problems: Mapping[str, str]) -> list[str]:
    """Return sentences on the rows that are not exported: numbers by reason, and the images with a problem."""
    notes = []
    if left_out:
        listed = ", ".join(f"{number} {why}" for why, number in left_out.items())
        notes.append(f"Left out: {listed}.")
    if problems:
        listed = shorten(f"{name} ({problem.rstrip('.')})" for name, problem in problems.items())
        notes.append(f"Left out, for their files cannot be used: {counted(len(problems), 'image')}: {listed}.")
    return notes
