"""Images that are the same exposure: identical pixels, or saved again, resized, windowed, damaged or cut a little.

Candidates come from a perceptual hash (signs of low DCT frequencies; Zauner 2010) of the whole image, and of its upper
part, because a file that was cut off and saved again keeps that. Pairs are then confirmed on thumbnails: most tiles of
the one must be found again, within a few pixels, in the other. Two patients' hands look alike as a whole, but not in
their fine structure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.transforms import Transform
from kerasortho.progress import track

SIDE = 128
"""Height and width of thumbnails, in px."""

NEAR_SCORE = 0.94
"""Median tile correlation from which two images are near-duplicates. On FracAtlas all true pairs have more than 0.99
and, of 5,000 other pairs that look alike, one has 0.93 and the rest less than 0.89."""

_HASH_SIDE = 32
_WHOLE_BITS, _UPPER_BITS = 12, 10  # largest Hamming distances of candidates, of 64
_UPPER_ROWS = SIDE * 5 // 8
_TILE, _REACH = 16, 4
_FEWEST_TILES = 6
_TEXTURE = 0.005  # standard deviation, in fractions of the image's contrast, from which a tile tells something
_FINE_SIGMA = 2.0
_FIRST_LOOK = 9  # tiles looked at before a hopeless pair is given up
_HOPELESS = 0.75
_BLOCK = 2048


@dataclass(frozen=True)
class Fingerprint:
    """What finds an image's duplicates: a hash of size and pixels, and a (128, 128) float16 thumbnail in [0, 1]."""

    pixels_hash: str
    thumbnail: np.ndarray


@dataclass(frozen=True)
class Duplicate:
    """Images number ``first`` < ``second`` are the same exposure; ``score`` is their similarity, 1 if ``exact``.

    ``transform`` tells what was done to the first; None where it is not known to be more than saved again.
    """

    first: int
    second: int
    exact: bool
    score: float
    transform: Transform | None = None

    @property
    def kind(self) -> str:
        """Return ``"exact"``, ``"near"`` or ``"transformed"``."""
        return "exact" if self.exact else "near" if self.transform is None else "transformed"


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """Return the fingerprint of (H, W) float32 pixels in [0, 1]."""
    stored = np.ascontiguousarray(pixels, np.float32)
    digest = hashlib.blake2b(f"{stored.shape}".encode() + stored.tobytes(), digest_size=16).hexdigest()
    small = cv2.resize(stored, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (0.5, 99.5))
    stretched = np.clip((small - low) / max(high - low, 1e-6), 0, 1)
    return Fingerprint(digest, stretched.astype(np.float16))


def find_duplicates(fingerprints: Sequence[Fingerprint], *, what: str = "") -> list[Duplicate]:
    """Return all pairs of exact and near-duplicates, ordered by their numbers.

    Of identical images only the first is compared with the others, so that near-duplicates of it are listed once.
    ``what`` is a word for the progress on stderr; empty for none.
    """
    firsts: dict[str, int] = {}
    found = []
    for number, item in enumerate(fingerprints):
        first = firsts.setdefault(item.pixels_hash, number)
        if first != number:
            found.append(Duplicate(first, number, True, 1.0))
    distinct = list(firsts.values())
    thumbnails = [fingerprints[number].thumbnail for number in distinct]
    candidates = list(_candidates(thumbnails))
    with _one_opencv_thread():
        for one, other in track(candidates, what) if what and candidates else candidates:
            score = similarity(thumbnails[one], thumbnails[other])
            if score >= NEAR_SCORE:
                found.append(Duplicate(distinct[one], distinct[other], False, round(score, 4)))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from sharing out tiny images among threads, which takes four times as long."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each of ``count`` items the lowest number in its set, when ``pairs`` are tied (union-find)."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(item) for item in range(count)]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two (128, 128) thumbnails show the same exposure, in [-1, 1].

    The median, over all tiles with texture, of the best normalised correlation of the tile's fine structure
    within a few pixels of its place in the other thumbnail.
    """
    fine, other_fine = _fine_structure(one), _fine_structure(other)
    tiles = _textured_tiles(fine)
    if len(tiles) < _FEWEST_TILES:
        return 0.0
    spread = [*tiles[:: max(1, len(tiles) // _FIRST_LOOK)]]
    first_look = float(np.median([_best_correlation(fine, other_fine, y, x) for y, x in spread]))
    if first_look < _HOPELESS:
        return first_look
    return float(np.median([_best_correlation(fine, other_fine, y, x) for y, x in tiles]))


def _textured_tiles(fine: np.ndarray) -> list[tuple[int, int]]:
    """Return row and column of the tiles, on a grid that leaves room to search around, that tell something."""
    count = (SIDE - 2 * _REACH) // _TILE
    grid = fine[_REACH : _REACH + count * _TILE, _REACH : _REACH + count * _TILE].reshape(count, _TILE, count, _TILE)
    places = np.argwhere(grid.std(axis=(1, 3)) >= _TEXTURE) * _TILE + _REACH
    return [(int(y), int(x)) for y, x in places]


def _fine_structure(thumbnail: np.ndarray) -> np.ndarray:
    image = thumbnail.astype(np.float32)
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), _FINE_SIGMA))


def _best_correlation(fine: np.ndarray, other: np.ndarray, y: int, x: int) -> float:
    tile = fine[y : y + _TILE, x : x + _TILE]
    around = other[y - _REACH : y + _TILE + _REACH, x - _REACH : x + _TILE + _REACH]
    return float(cv2.matchTemplate(around, tile, cv2.TM_CCOEFF_NORMED).max())


def _candidates(thumbnails: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Yield pairs of numbers with a small Hamming distance between their hashes.

    All distances come from block-wise matrix products of +1/-1 signs: no candidate is missed, as it would be with hash
    buckets that tolerate 12 bits, and 50,000 images take seconds.
    """
    if not thumbnails:
        return
    whole = np.stack([_hash_signs(thumbnail) for thumbnail in thumbnails])
    upper = np.stack([_hash_signs(thumbnail[:_UPPER_ROWS]) for thumbnail in thumbnails])
    bits = whole.shape[1]
    for start in range(0, len(thumbnails), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = whole[block] @ whole[start:].T >= bits - 2 * _WHOLE_BITS
        near |= upper[block] @ upper[start:].T >= bits - 2 * _UPPER_BITS
        for one, other in np.argwhere(np.triu(near, 1)):
            yield int(one) + start, int(other) + start


def _hash_signs(thumbnail: np.ndarray) -> np.ndarray:
    """Return 64 signs, +1 or -1 float32: which low DCT coefficients are above their median."""
    small = cv2.resize(thumbnail.astype(np.float32), (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[1:9, 1:9].ravel()
    return np.where(low > np.median(low), 1, -1).astype(np.float32)
