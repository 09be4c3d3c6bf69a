"""Reading every file of a manifest once, and keeping what the checks and the splits need of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasortho.data.duplicates import Duplicate, Fingerprint, find_duplicates, fingerprint
from kerasortho.data.manifest import Manifest, is_excluded
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import TruncatedImageError
from kerasortho.radiograph.reading import read_mask_values, read_radiograph

_VALUES_KEPT = 8
_BLOCK = 8  # px, of JPEG
_FILLER_GREY = 128 / 255
_FILLER_SPREAD = 0.02  # a repeated pattern varies more than that, a saturated plate border less


@dataclass(frozen=True)
class MaskFacts:
    """What a mask file holds: size (H, W), its first few values, the share of pixels above 0, and a content hash."""

    shape: tuple[int, int]
    values: tuple[int, ...]
    share: float
    content_hash: str

    @property
    def binary(self) -> bool:
        """Tell whether the values are {0, 1} or {0, white}, or one of these alone."""
        return set(self.values) <= {0, 1} or set(self.values) <= {0, 255} or set(self.values) <= {0, 65535}


@dataclass(frozen=True)
class Files:
    """The files of one row; None where it names none."""

    image: Path
    mask: Path | None = None
    ignore: Path | None = None


@dataclass(frozen=True)
class Inspection:
    """What the files of one row are: problems in words ('' for none), facts (None where there is no readable file)."""

    problem: str = ""
    truncated: bool = False
    missing: bool = False
    shape: tuple[int, int] | None = None
    constant: bool = False
    filler_rows: int = 0
    fingerprint: Fingerprint | None = None
    warnings: tuple[str, ...] = ()
    mask: MaskFacts | None = None
    mask_problem: str = ""
    ignore: MaskFacts | None = None
    ignore_problem: str = ""


def inspect_manifest(
    manifest: Manifest, *, masks: bool = True, processes: int = 1, what: str = ""
) -> list[Inspection | None]:
    """Return an inspection for every row of a manifest, None for excluded ones.

    Args:
        manifest: read it with ``check_files=False``, so that missing files are found here.
        masks: look at mask and ignore files too.
        processes: how many processes read.
        what: a word for the progress on stderr; empty for none.
    """
    used = [index for index, row in enumerate(manifest.rows) if not is_excluded(row)]
    results = parallel_map(inspect, [_files(manifest, index, masks) for index in used], processes=processes, what=what)
    found: list[Inspection | None] = [None] * len(manifest.rows)
    for index, result in zip(used, results, strict=True):
        found[index] = result
    return found


def duplicate_rows(inspections: Sequence[Inspection | None], *, what: str = "") -> list[Duplicate]:
    """Return the pairs of rows, by their numbers in the manifest, whose images are the same exposure.

    ``what`` is a word for the progress on stderr; empty for none.
    """
    readable = [
        (index, item.fingerprint) for index, item in enumerate(inspections) if item is not None and item.fingerprint
    ]
    pairs = find_duplicates([taken for _, taken in readable], what=what)
    return [Duplicate(readable[pair.first][0], readable[pair.second][0], pair.exact, pair.score) for pair in pairs]


def inspect(files: Files) -> Inspection:
    """Read the files of one row. Raises nothing for bad files: they are what is looked for."""
    if not files.image.is_file():
        return Inspection(problem="no such file", missing=True)
    try:
        radiograph = read_radiograph(files.image)
    except KerasOrthoError as error:
        return Inspection(problem=reason(error, files.image), truncated=isinstance(error, TruncatedImageError))
    pixels = radiograph.pixels
    mask, mask_problem = _inspect_mask(files.mask)
    ignore, ignore_problem = _inspect_mask(files.ignore)
    return Inspection(
        shape=(pixels.shape[0], pixels.shape[1]),
        constant=bool(pixels.min() == pixels.max()),
        filler_rows=count_filler_rows(pixels),
        fingerprint=fingerprint(pixels),
        warnings=tuple(radiograph.tags.get("warnings", ())),
        mask=mask,
        mask_problem=mask_problem,
        ignore=ignore,
        ignore_problem=ignore_problem,
    )


def count_filler_rows(pixels: np.ndarray) -> int:
    """Return how many rows at the bottom of (H, W) pixels are a decoder's filler, in place of what was cut off.

    Filler is mid-grey, or one 8 px JPEG block with a pattern, repeated from side to side. Fewer than 8 rows are none.
    """
    if min(pixels.shape) < 4 * _BLOCK or not _repeats(pixels[-_BLOCK:]).all():
        return 0
    differing = np.flatnonzero(~_repeats(pixels))
    rows = len(pixels) - (int(differing[-1]) + 1 if differing.size else 0)
    filler = pixels[-rows:]
    grey = bool(np.abs(filler - _FILLER_GREY).max() <= 2 / 255)
    return rows if rows < len(pixels) and (grey or filler.std() >= _FILLER_SPREAD) else 0


def _repeats(pixels: np.ndarray) -> np.ndarray:
    """Return (H,) bool: the rows in which nearly every pixel equals the one a JPEG block further."""
    return np.asarray((np.abs(pixels[:, _BLOCK:] - pixels[:, :-_BLOCK]) <= 2 / 255).mean(axis=1) > 0.98)


def reason(error: KerasOrthoError, file: Path) -> str:
    """Return what is wrong with ``file``, without its path, which is told beside it."""
    return str(error).removeprefix(f"{file}: ")


def _files(manifest: Manifest, index: int, masks: bool) -> Files:
    row = manifest.rows[index]
    image = manifest.resolve(row, "image")
    assert image is not None  # a manifest has no row without image
    return Files(image, *((manifest.resolve(row, "mask"), manifest.resolve(row, "ignore")) if masks else ()))


def _inspect_mask(file: Path | None) -> tuple[MaskFacts | None, str]:
    if file is None:
        return None, ""
    if not file.is_file():
        return None, "no such file"
    try:
        values = read_mask_values(file)
    except KerasOrthoError as error:
        return None, reason(error, file)
    present = np.flatnonzero(np.bincount(values.ravel()))
    digest = hashlib.blake2b(f"{values.shape}".encode() + (values != 0).tobytes(), digest_size=16).hexdigest()
    shown = tuple(int(value) for value in present[:_VALUES_KEPT])
    return MaskFacts(
        (values.shape[0], values.shape[1]), shown, float(np.count_nonzero(values) / values.size), digest
    ), ""
