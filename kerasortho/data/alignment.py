"""Whether two images show the same exposure, once the one is laid over the other.

The proposed transform is refined until tiles of the one lie on the other, then the tiles' fine structure must agree.
A second exposure of the same limb, or the other hand of the same person, has another fine structure, and its bones do
not all lie on the first one's at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SIDE = 384  # px, the longer side of the first image when compared
_TILE = 24
_STEP = 16
_REACHES = (8, 4, 2)  # px that tiles are searched around their places, in one round after the other
_LAST_REACH = 1
_FINE_SIGMA = 3.0
_TEXTURE = 0.006  # standard deviation of a tile, in fractions of the image's contrast, from which it tells something
_FEWEST_TILES = 12
_GOOD = 0.5  # correlation from which a tile's displacement is believed
_HOPELESS = 0.25  # share of good tiles, at first, below which a pair is given up
_FLAT = 0.2  # share of black or white pixels from which a tile is left out: another window makes them
_STRONG = 2 / 3  # the tiles with more texture than this share of them show bone, not a detector's pattern


@dataclass(frozen=True)
class Agreement:
    """How two images agree when the one is laid over the other.

    matrix: (2, 3) float64, takes (column, row, 1) in px of the first to px of the second.
    tiles: how many tiles of the overlap have texture.
    median, low: the median and the tenth percentile of their correlations, in [-1, 1].
    strong: the 25th percentile of the correlations of the third of the tiles that have most texture.
    stretch: how many times as much the matrix enlarges in one direction as in another.
    shares: which share of the first image's area, and of the second's, lies in the overlap.
    grey_change: mean absolute difference of stretched grey values, in [0, 1].
    """

    matrix: np.ndarray
    tiles: int
    median: float
    low: float
    strong: float
    stretch: float
    shares: tuple[float, float]
    grey_change: float


def compare(first: np.ndarray, second: np.ndarray, matrix: np.ndarray, *, inverted: bool) -> Agreement | None:
    """Return how (H, W) float32 images agree under a refined ``matrix`` (see `Agreement`), None for no overlap.

    ``inverted``: dark is bright in the second one.
    """
    grid = _Grid(first, second, matrix, inverted)
    if min(grid.one.shape) < 2 * _TILE or min(grid.small.shape) < 2 * _TILE:
        return None
    matrix = grid.matrix
    for reach in _REACHES:
        tiles, found = _tile_matches(grid, matrix, reach, step=2 * _STEP if reach == _REACHES[0] else _STEP)
        good = found[:, 2] >= _GOOD
        if good.sum() < max(4, _HOPELESS * len(good)):
            return None
        matrix = _moved(matrix, tiles[good], found[good, :2])
    tiles, found = _tile_matches(grid, matrix, _LAST_REACH)
    if len(tiles) < _FEWEST_TILES:
        return None
    full = grid.to_full(matrix)
    shares = overlap_shares(first.shape, second.shape, full)
    laid, inside = grid.lay(matrix)
    change = float(np.abs(_stretched(grid.one, inside) - _stretched(laid, inside))[inside].mean())
    low, median = np.percentile(found[:, 2], (10, 50))
    strong = np.percentile(found[found[:, 3] >= np.quantile(found[:, 3], _STRONG), 2], 25)
    lengths = np.linalg.svd(full[:, :2], compute_uv=False)
    stretch = float(lengths[0] / max(lengths[1], 1e-6))
    return Agreement(full, len(tiles), float(median), float(low), float(strong), stretch, shares, change)


def overlap_shares(first: tuple[int, ...], second: tuple[int, ...], matrix: np.ndarray) -> tuple[float, float]:
    """Return which share of each image's area (shapes (H, W)) lies on the other."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    one = corners * (first[1], first[0])
    other = (corners * (second[1], second[0])).astype(np.float32)
    moved = cv2.transform((one - 0.5)[None], matrix)[0].astype(np.float32) + 0.5
    area, _ = cv2.intersectConvexConvex(moved, other)
    full = cv2.contourArea(moved)
    return min(1.0, area / max(full, 1e-6)), min(1.0, area / (second[0] * second[1]))


class _Grid:
    """Both images on a scale where a pixel of the one is as large as a pixel of the other."""

    def __init__(self, first: np.ndarray, second: np.ndarray, matrix: np.ndarray, inverted: bool) -> None:
        ratio = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # px of the second for one of the first
        scale = min(1.0, _SIDE / max(first.shape), ratio)
        self.one, self._to_one = _shrunk(first, scale)
        self.small, self._to_small = _shrunk(1 - second if inverted else second, scale / ratio)
        self.fine = _fine(self.one)
        self.matrix = (self._to_small @ _square(matrix) @ np.linalg.inv(self._to_one))[:2]

    def to_full(self, matrix: np.ndarray) -> np.ndarray:
        """Return a matrix between the shrunk images as one between the images."""
        return np.asarray((np.linalg.inv(self._to_small) @ _square(matrix) @ self._to_one)[:2])

    def lay(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the second image laid on the first, and where it is."""
        height, width = self.one.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        laid = cv2.warpAffine(self.small, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        inside = cv2.warpAffine(np.ones(self.small.shape, np.uint8), matrix, (width, height), flags=flags)
        return laid, inside.astype(bool)


def _shrunk(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image on another scale, stretched to [0, 1], and the (3, 3) matrix that takes px there."""
    height, width = image.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (0.5, 99.5))
    x, y = size[0] / width, size[1] / height
    matrix = np.array([(x, 0, x / 2 - 0.5), (0, y, y / 2 - 0.5), (0, 0, 1)])
    return np.clip((small - low) / max(high - low, 1e-6), 0, 1).astype(np.float32), matrix


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, (0, 0, 1)])


def _fine(image: np.ndarray) -> np.ndarray:
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), _FINE_SIGMA))


def _stretched(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image[inside], (1, 99)) if inside.any() else (0, 1)
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1)


def _tile_matches(grid: _Grid, matrix: np.ndarray, reach: int, step: int = _STEP) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles (N, 2) of tiles with texture in both images; shift, correlation and texture of each (N, 4)."""
    laid, inside = grid.lay(matrix)
    other = _fine(laid)
    whole = cv2.erode(inside.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1)), borderValue=0)
    flat = _is_flat(grid.one) | _is_flat(laid)
    tiles, found = [], []
    height, width = grid.one.shape
    for y in range(reach, height - _TILE - reach + 1, step):
        for x in range(reach, width - _TILE - reach + 1, step):
            place = slice(y, y + _TILE), slice(x, x + _TILE)
            texture = min(grid.fine[place].std(), other[place].std())
            if texture < _TEXTURE or not whole[place].all() or flat[place].mean() > _FLAT:
                continue
            around = other[y - reach : y + _TILE + reach, x - reach : x + _TILE + reach]
            scores = cv2.matchTemplate(around, grid.fine[place], cv2.TM_CCOEFF_NORMED)
            _, best, _, (right, down) = cv2.minMaxLoc(scores)
            tiles.append((x + (_TILE - 1) / 2, y + (_TILE - 1) / 2))
            found.append((right - reach, down - reach, best, texture))
    return np.array(tiles, np.float64).reshape(-1, 2), np.array(found, np.float64).reshape(-1, 4)


def _is_flat(image: np.ndarray) -> np.ndarray:
    return np.asarray((image <= 0.01) | (image >= 0.99))


def _moved(matrix: np.ndarray, tiles: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return ``matrix`` corrected so that ``tiles`` come to lie where they were found, outliers left out."""
    targets = cv2.transform((tiles + shifts)[None], matrix)[0]
    fitted, _ = cv2.estimateAffine2D(tiles, targets, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    return matrix if fitted is None else np.asarray(fitted)
