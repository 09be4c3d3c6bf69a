"""Duplicates: the same exposure is found through what files go through, other exposures are not."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from kerasortho.data.duplicates import NEAR_SCORE, connected, find_duplicates, fingerprint, similarity

Drawer = Callable[..., np.ndarray]


def as_pixels(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255)


def recompressed(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE)


def darkened(image: np.ndarray) -> np.ndarray:
    return (255 * (image / 255) ** 1.5).astype(np.uint8)


def smaller(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def cut(image: np.ndarray) -> np.ndarray:
    return image[3:, 2:]


def damaged(image: np.ndarray) -> np.ndarray:
    return np.vstack(
        [image[: len(image) * 3 // 4], np.full((len(image) - len(image) * 3 // 4, image.shape[1]), 128, np.uint8)]
    )


@pytest.mark.parametrize("change", [recompressed, darkened, smaller, cut, damaged])
def test_changed_files_are_found(draw_limb: Drawer, change: Callable[[np.ndarray], np.ndarray]) -> None:
    images = [draw_limb(seed) for seed in range(12)]
    prints = [fingerprint(as_pixels(image)) for image in [*images, *(change(image) for image in images)]]
    found = find_duplicates(prints)
    right = [pair for pair in found if pair.second == pair.first + 12]
    assert len(right) >= 11 and len(found) == len(right)
    assert all(not pair.exact and NEAR_SCORE <= pair.score <= 1 for pair in right)


def test_identical_pixels(draw_limb: Drawer) -> None:
    one, other = as_pixels(draw_limb(1)), as_pixels(draw_limb(2))
    found = find_duplicates([fingerprint(image) for image in (one, other, one.copy(), one)])
    assert [(pair.first, pair.second, pair.exact) for pair in found] == [(0, 2, True), (0, 3, True)]
    assert find_duplicates([]) == []


def test_sizes_are_told_apart_and_blank_images_are_no_near_duplicates() -> None:
    blank = [np.zeros((8, 4), np.float32), np.zeros((4, 8), np.float32), np.ones((8, 4), np.float32)]
    assert find_duplicates([fingerprint(image) for image in blank]) == []


def test_noise_and_other_limbs_are_not_similar(draw_limb: Drawer) -> None:
    prints = [fingerprint(as_pixels(draw_limb(seed))).thumbnail for seed in range(8)]
    scores = [similarity(prints[i], prints[j]) for i in range(8) for j in range(i)]
    assert max(scores) < 0.8
    assert similarity(prints[0], prints[0]) == pytest.approx(1, abs=1e-4)


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29))))
def test_connected_sets(count: int, links: list[tuple[int, int]]) -> None:
    pairs = [(a, b) for a, b in links if a < count and b < count]
    roots = connected(count, pairs)
    assert all(roots[a] == roots[b] for a, b in pairs)
    graph = coo_matrix((np.ones(len(pairs)), tuple(np.array(pairs).reshape(-1, 2).T)), shape=(count, count))
    number, labels = connected_components(graph, directed=False)
    assert len(set(roots)) == number
    assert all(min(i for i in range(count) if labels[i] == labels[k]) == roots[k] for k in range(count))
