"""Pairs of images that share local features in one arrangement: candidates for transformed duplicates.

An inverted file with binary signatures (Jegou, Douze and Schmid 2008): descriptors are sorted into words, and within
a word compared by 64 signs. A pair is a candidate if enough of its matches agree on one similarity transform. The work
for a word grows with the square of its features; the number of words grows with the images to hold that down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.local_features import VARIANTS, LocalFeatures
from kerasortho.progress import track

_FEATURES_PER_WORD = 300
_FEWEST_WORDS, _MOST_WORDS = 16, 4096
_SAMPLES_PER_WORD = 25
_DIMENSIONS = 32  # of the descriptors where words are told
_BITS = 64
_PROBES = 2  # words that a descriptor is looked up in
_MOST_DIFFERENT_BITS = 6  # hardest transforms keep 4 to 7 such matches or more in 95 % of images, other pairs have one
_MOST_MATCHES = 20  # the nearest that a feature keeps, so that the work for a feature does not grow with the images
_FEWEST_AGREEING = 5
_IMAGES_AT_ONCE = 256
_POSITION, _ANGLE, _SCALE = 0.03, 20.0, 1.5  # how far agreeing matches may differ: of the image's side, degrees, ratio
_ANGLE_BIN, _SCALE_BIN = 40.0, 2.0  # at least twice as wide, since bins overlap by halves


@dataclass(frozen=True, eq=False)
class Candidate:
    """Images ``first`` < ``second`` that may show the same exposure.

    matrix: (2, 3) float64, takes (column, row, 1) in px of the first to px of the second.
    """

    first: int
    second: int
    inverted: bool
    matrix: np.ndarray
    agreeing: int


def search_candidates(features: Sequence[LocalFeatures], *, what: str = "") -> list[Candidate]:
    """Return the pairs of images whose features match in one arrangement, the best arrangement of each.

    ``what`` is a word for the progress on stderr; empty for none.
    """
    total = sum(len(item.points) for item in features)
    if total < _BITS:
        return []
    codes = _Codes(features, words=int(np.clip(total // _FEATURES_PER_WORD, _FEWEST_WORDS, _MOST_WORDS)))
    blocks = range(0, len(features), _IMAGES_AT_ONCE)
    best: dict[tuple[int, int], Candidate] = {}
    for start in track(blocks, what) if what else blocks:
        for candidate in _block_candidates(features, codes, start):
            pair = candidate.first, candidate.second
            if pair not in best or candidate.agreeing > best[pair].agreeing:
                best[pair] = candidate
    return [best[pair] for pair in sorted(best)]


class _Codes:
    """How descriptors become words and signs, and the codes of all images sorted by word."""

    def __init__(self, features: Sequence[LocalFeatures], words: int) -> None:
        rng = np.random.default_rng(0)
        sample = _sampled(features, words * _SAMPLES_PER_WORD, rng)
        self._mean = sample.mean(axis=0)
        centred = sample - self._mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        self._axes = axes[:, -_DIMENSIONS:]
        self._planes = np.linalg.qr(rng.normal(size=(128, _BITS)))[0].astype(np.float32)
        self._medians = np.median(centred @ self._planes, axis=0)
        cv2.setRNGSeed(0)
        criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 8, 0.0)
        projected = np.ascontiguousarray(centred @ self._axes, np.float32)
        initial = np.zeros((len(projected), 1), np.int32)
        self._centres = cv2.kmeans(
            projected, min(words, len(projected)), initial, criteria, 1, cv2.KMEANS_RANDOM_CENTERS
        )[2]
        self.points = np.concatenate([item.points for item in features])
        self.counts = np.array([len(item.points) for item in features])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        coded = [self.encode(item.descriptors, 1) for item in features]
        all_words = np.concatenate([found[:, 0] for found, _ in coded])
        self.order = np.argsort(all_words, kind="stable")  # feature numbers by word
        self.signs = np.concatenate([signs for _, signs in coded])[self.order]
        self.bounds = np.searchsorted(all_words[self.order], np.arange(len(self._centres) + 1))

    def encode(self, descriptors: np.ndarray, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the ``probes`` next words (N, probes), and 64 signs packed into (N, 8) uint8."""
        centred = _rooted(descriptors) - self._mean
        projected = centred @ self._axes
        distances = (self._centres**2).sum(axis=1) - 2 * projected @ self._centres.T
        near = distances.argmin(axis=1)[:, None] if probes == 1 else np.argpartition(distances, probes - 1)[:, :probes]
        return near, np.packbits(centred @ self._planes > self._medians, axis=1)


def _sampled(features: Sequence[LocalFeatures], count: int, rng: np.random.Generator) -> np.ndarray:
    """Return about ``count`` rooted descriptors, as many of each image."""
    share = min(1.0, count / sum(len(item.points) for item in features))
    chosen = [item.descriptors[rng.random(len(item.descriptors)) < share] for item in features]
    return _rooted(np.concatenate(chosen))


def _rooted(descriptors: np.ndarray) -> np.ndarray:
    """Return descriptors (N, 128) as float32 whose Euclidean distance compares histograms (RootSIFT)."""
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1)))


def _block_candidates(features: Sequence[LocalFeatures], codes: _Codes, start: int) -> Iterator[Candidate]:
    """Yield candidates whose second image is one of a block, its features looked up in all images before it."""
    block = features[start : start + _IMAGES_AT_ONCE]
    owner = np.repeat(np.arange(start, start + len(block)), codes.counts[start : start + len(block)])
    for mirrored, inverted in VARIANTS:
        turned = [item.variant(mirrored, inverted) for item in block]
        asked, found = _matches(codes, np.concatenate([item.descriptors for item in turned]), owner)
        there = np.concatenate([item.points for item in turned])[asked]
        here = codes.points[found]
        pairs = owner[asked] * len(features) + np.searchsorted(codes.starts, found, side="right") - 1
        for rows in _arranged(pairs, here, there):
            second, first = divmod(int(pairs[rows[0]]), len(features))
            height, width = features[second].shape
            fitted = agree(here[rows], there[rows], max(height, width))
            if fitted is not None:
                matrix, agreeing = fitted
                if mirrored:  # back from the mirrored second image to the second as it is
                    matrix = matrix * ((-1,), (1,)) + ((0, 0, width - 1), (0, 0, 0))
                yield Candidate(first, second, inverted, matrix, agreeing)


def _matches(codes: _Codes, descriptors: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of ``descriptors`` and, for each, of a feature like it in an image before its ``owner``."""
    words, signs = codes.encode(descriptors, _PROBES)
    flat = words.ravel()
    order = np.argsort(flat, kind="stable")
    bounds = np.searchsorted(flat[order], np.arange(len(codes.bounds)))
    parts = [np.zeros((3, 0), np.int64)]
    for word in np.flatnonzero(np.diff(bounds) * np.diff(codes.bounds)):
        queries = order[bounds[word] : bounds[word + 1]] // _PROBES
        held = slice(codes.bounds[word], codes.bounds[word + 1])
        products = _plus_minus(signs[queries]) @ _plus_minus(codes.signs[held]).T
        rows, columns = np.nonzero(products >= _BITS - 2 * _MOST_DIFFERENT_BITS)
        asked, found = queries[rows], codes.order[held][columns]
        before = found < codes.starts[owner[asked]]
        parts.append(np.stack([asked, found, -products[rows, columns].astype(np.int64)])[:, before])
    asked, found, distance = np.concatenate(parts, axis=1)
    nearest = np.lexsort((distance, asked))
    asked, found = asked[nearest], found[nearest]
    rank = np.arange(len(asked)) - np.searchsorted(asked, asked)
    return asked[rank < _MOST_MATCHES], found[rank < _MOST_MATCHES]


def _arranged(pairs: np.ndarray, here: np.ndarray, there: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the row numbers of each pair that has enough matches of about one turn and one scale."""
    scale = np.log(there[:, 2] / here[:, 2]) / np.log(_SCALE_BIN)
    turn = (here[:, 3] - there[:, 3]) % 360 / _ANGLE_BIN
    promising = [np.zeros(0, np.int64)]
    for scale_shift in (0.0, 0.5):
        for turn_shift in (0.0, 0.5):
            bins = np.floor(scale + scale_shift) * 16 + np.floor((turn + turn_shift) % (360 / _ANGLE_BIN))
            keys, counts = np.unique(pairs * 1024 + bins.astype(np.int64) + 512, return_counts=True)
            promising.append(keys[counts >= _FEWEST_AGREEING] // 1024)
    rows = np.flatnonzero(np.isin(pairs, np.unique(np.concatenate(promising))))
    rows = rows[np.argsort(pairs[rows], kind="stable")]
    yield from np.split(rows, np.flatnonzero(np.diff(pairs[rows])) + 1) if rows.size else ()


def _plus_minus(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def agree(here: np.ndarray, there: np.ndarray, side: int) -> tuple[np.ndarray, int] | None:
    """Return the similarity transform that most matches agree on, and how many do; None for too few.

    Every match proposes one: its points have a size and a direction, too.

    Args:
        here, there: (N, 4) points of `LocalFeatures` in the one image and the other, that match row by row.
        side: the longer side of the other image in px.
    """
    ratio = there[:, 2] / here[:, 2]
    factors = ratio * np.exp(1j * np.deg2rad(there[:, 3] - here[:, 3]))
    start, end = here[:, 0] + 1j * here[:, 1], there[:, 0] + 1j * there[:, 1]
    errors = np.abs(factors[:, None] * (start[None] - start[:, None]) + end[:, None] - end[None])
    alike = np.abs(np.angle(factors[:, None] / factors[None])) < np.deg2rad(_ANGLE)
    alike &= np.abs(np.log(ratio[:, None] / ratio[None])) < np.log(_SCALE)
    inliers = (errors < _POSITION * side) & alike
    chosen = inliers[inliers.sum(axis=1).argmax()]
    places = min(len(set(np.round(ends[chosen]))) for ends in (start, end))  # a feature may have two directions
    factor, shift = _least_squares(start[chosen], end[chosen])
    strange = abs(np.log(max(abs(factor), 1e-9) / np.median(ratio[chosen]))) > np.log(_SCALE)
    if places < _FEWEST_AGREEING or strange:
        return None
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]), places


def _least_squares(start: np.ndarray, end: np.ndarray) -> tuple[complex, complex]:
    """Return the factor and the shift that take complex points ``start`` nearest to ``end``."""
    centred = start - start.mean()
    factor = complex(np.vdot(centred, end - end.mean()) / max(np.vdot(centred, centred).real, 1e-9))
    return factor, complex(end.mean() - factor * start.mean())
