"""Masks whose outline lies nowhere near the image's edges, but would if they were mirrored, shifted or another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.checking.mask_fit import Fit, describe_way, edges, fit, outline, place_score
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import Manifest
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_mask_values, read_radiograph

_SHORTEST_OUTLINE = 100.0  # px, of an image 192 px long; half of that of the smallest bone masks measured
_BEST, _AHEAD = 0.4, 0.15  # what another way must score, and by how much more than the mask as it is
_TYPICAL = 0.75  # share of the dataset's typical score that a good mask reaches
_JUDGEABLE = 0.4  # typical score from which outlines follow edges at all
_SAME_WAY = 0.8  # share of masks wrong in the same way from which all of a dataset are
_FEWEST = 5
_NEIGHBOURS = 60  # rows on either side whose masks are tried: files get mixed up with those beside them


@dataclass(frozen=True)
class _Files:
    """An image and its mask."""

    image: Path
    mask: Path


def mask_fit_findings(
    manifest: Manifest, inspections: Sequence[Inspection | None], *, processes: int = 1, what: str = ""
) -> Iterator[Finding]:
    """Yield masks that would fit their images clearly better in another way, and those that cannot be judged.

    A mask is judged by what is usual in its dataset: where outlines do not follow edges, none is.

    Args:
        manifest: the dataset.
        inspections: one for every row, None for excluded ones.
        processes: how many processes read files.
        what: empty for no progress on stderr.
    """
    rows = [number for number, item in enumerate(inspections) if item is not None and _can_be_laid(item)]
    files = [_files(manifest, number) for number in rows]
    fits = parallel_map(_fit_of, files, processes=processes, what=what and "fitting masks")
    judged = {row: item for row, item in zip(rows, fits, strict=True) if item and item.outline >= _SHORTEST_OUTLINE}
    typical = _typical_score(list(judged.values()))
    if len(judged) < _FEWEST or typical < _JUDGEABLE:
        judged = {}
    poor = {row: item for row, item in judged.items() if item.score < _TYPICAL * typical}
    cases = []
    for row, item in poor.items():
        other, score = _better_neighbour(manifest, row, [number for number in rows if number != row])
        if score > item.better and _is_better(score, item.score):
            detail = f"fits worse ({item.score:.2f}) than the mask of {manifest.rows[other]['image']} ({score:.2f})"
            cases.append(Case((manifest.rows[row]["image"],), f"{manifest.rows[row]['mask']}: {detail}"))
        elif _is_better(item.better, item.score):
            cases.append(Case((manifest.rows[row]["image"],), f"{manifest.rows[row]['mask']}: {describe_way(item)}"))
    meaning = (
        "The mask's outline misses the image's edges, but would lie on them in another way. Scores, from -1 to 1: "
        "how far bright inside and dark outside meet along the outline."
    )
    yield Finding("warning", "mask_misfit", meaning, tuple(cases))
    unjudged = tuple(Case((manifest.rows[number]["image"],)) for number in rows if number not in judged)
    meaning = "Masks too small, or in a dataset where outlines do not follow edges: whether they fit was not judged."
    yield Finding("info", "mask_fit_not_judged", meaning, unjudged)


def _typical_score(fits: Sequence[Fit]) -> float:
    """Return the usual score of masks that fit; low where outlines do not follow edges, as around fractures.

    What the masks score as they are. Only where nearly all would fit better in one and the same way, mirrored or turned
    by whoever exported them, it is what they would score then.
    """
    if not fits:
        return 0.0
    way, count = Counter(item.way for item in fits).most_common(1)[0]
    as_they_are = float(np.median([item.score for item in fits]))
    if as_they_are < _JUDGEABLE and count >= _SAME_WAY * len(fits):
        return float(np.median([item.better for item in fits if item.way == way]))
    return as_they_are


def _can_be_laid(item: Inspection) -> bool:
    """Tell whether there is a mask with something in it, of its image's size or that size turned."""
    if item.problem or item.mask is None or item.shape is None or not 0 < item.mask.share < 1:
        return False
    return item.mask.shape in (item.shape, item.shape[::-1])


def _is_better(other: float, own: float) -> bool:
    return other >= _BEST and other - own >= _AHEAD


def _files(manifest: Manifest, number: int) -> _Files:
    image, mask = (manifest.resolve(manifest.rows[number], column) for column in ("image", "mask"))
    assert image is not None and mask is not None  # only rows with a readable mask are asked for
    return _Files(image, mask)


def _fit_of(files: _Files) -> Fit | None:
    try:
        return fit(read_radiograph(files.image).pixels, read_mask_values(files.mask))
    except KerasOrthoError:  # it was readable a minute ago
        return None


def _better_neighbour(manifest: Manifest, row: int, others: Sequence[int]) -> tuple[int, float]:
    """Return which of the rows nearby has the mask that fits the image of ``row`` best, and its score."""
    field = edges(read_radiograph(_files(manifest, row).image).pixels)
    near = sorted(others, key=lambda number: abs(number - row))[: 2 * _NEIGHBOURS]
    best = (row, -1.0)
    for number in near:
        mask = read_mask_values(_files(manifest, number).mask)
        score = place_score(field, outline(mask, field.shape[1:]))
        if score > best[1]:
            best = (number, score)
    return best
