"""Images that are the same exposure turned, mirrored, scaled, cropped or shown with other grey values.

Candidates share local features in one arrangement; each is then confirmed on the pixels, one image laid over the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kerasortho.data.alignment import Agreement, compare
from kerasortho.data.duplicates import Duplicate
from kerasortho.data.feature_search import Candidate, search_candidates
from kerasortho.data.inspection import Inspection
from kerasortho.data.local_features import read_features
from kerasortho.data.manifest import Manifest
from kerasortho.data.parallel import parallel_map
from kerasortho.data.transforms import Transform
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_radiograph

SAME_MEDIAN, SAME_LOW, SAME_STRONG = 0.94, 0.65, 0.85
"""What an `Agreement` must have for one exposure: of the tiles' correlations the median, the tenth percentile, and the
25th of those that show bone. Repeated exposures on one detector share its pattern, but not the bones' place. On
FracAtlas evident duplicates have a median of 0.977 or more; repeated exposures in nearly the same pose up to 0.92."""

_LARGEST_STRETCH = 1.05
_FEWEST_SHARED = 0.5  # of the one image's area, at least: less could be a marker or a second limb on the plate


@dataclass(frozen=True, eq=False)
class ImagePair:
    """A candidate and its files."""

    first: Path
    second: Path
    candidate: Candidate


def transformed_rows(
    manifest: Manifest,
    inspections: Sequence[Inspection | None],
    known: Sequence[Duplicate],
    *,
    processes: int = 1,
    what: str = "",
) -> list[Duplicate]:
    """Return the pairs of rows whose images are transformed duplicates, those left out that are ``known`` as pairs.

    Of identical images only the first is compared with the others.

    Args:
        manifest: the dataset.
        inspections: one for every row, None for excluded ones.
        known: the duplicates that `duplicate_rows` finds.
        processes: how many processes read files.
        what: empty for no progress on stderr.
    """
    repeated = {pair.second for pair in known if pair.exact}
    rows = [
        number
        for number, item in enumerate(inspections)
        if item is not None and not item.problem and not item.constant and number not in repeated
    ]
    position = {number: place for place, number in enumerate(rows)}
    pairs = ((position.get(pair.first, -1), position.get(pair.second, -1)) for pair in known)
    files = [Path(str(manifest.resolve(manifest.rows[number], "image"))) for number in rows]
    found = transformed_duplicates(files, pairs, processes=processes, what=what)
    return [Duplicate(rows[pair.first], rows[pair.second], False, pair.score, pair.transform) for pair in found]


def transformed_duplicates(
    files: Sequence[Path], known: Iterable[tuple[int, int]] = (), *, processes: int = 1, what: str = ""
) -> list[Duplicate]:
    """Return the pairs of image ``files``, by number, that are transformed duplicates, ``known`` pairs left out."""
    features = parallel_map(read_features, files, processes=processes, what=what and "finding features")
    searched = [number for number, item in enumerate(features) if item is not None]
    candidates = search_candidates([item for item in features if item is not None], what=what and "comparing features")
    settled = set(known)
    asked = [
        ImagePair(files[first], files[second], item)
        for item in candidates
        if ((first := searched[item.first]), (second := searched[item.second])) not in settled
    ]
    found = parallel_map(confirm, asked, processes=processes, what=what and "comparing pairs of images")
    return [
        replace(pair, first=searched[pair.first], second=searched[pair.second]) for pair in found if pair is not None
    ]


def confirm(pair: ImagePair) -> Duplicate | None:
    """Return the duplicate, by the candidate's numbers, if both files show the same exposure."""
    try:
        first, second = read_radiograph(pair.first).pixels, read_radiograph(pair.second).pixels
    except KerasOrthoError:  # it was readable a minute ago
        return None
    candidate = pair.candidate
    agreement = compare(first, second, candidate.matrix, inverted=candidate.inverted)
    if agreement is None or not is_same_exposure(agreement):
        return None
    rows = agreement.matrix.tolist()
    transform = Transform((tuple(rows[0]), tuple(rows[1])), candidate.inverted, agreement.shares, agreement.grey_change)
    return Duplicate(candidate.first, candidate.second, False, round(agreement.median, 4), transform)


def is_same_exposure(agreement: Agreement) -> bool:
    """Tell whether images that agree so well are one exposure."""
    alike = agreement.median >= SAME_MEDIAN and agreement.low >= SAME_LOW and agreement.strong >= SAME_STRONG
    return alike and agreement.stretch <= _LARGEST_STRETCH and max(agreement.shares) >= _FEWEST_SHARED
