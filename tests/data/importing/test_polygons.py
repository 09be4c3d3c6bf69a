"""Polygons: filled where OpenCV's point-in-polygon test says inside, and turned as OpenCV turns EXIF images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasortho.data.importing.polygons import fill_polygon, to_stored_pixels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 9))
def test_pixels_whose_centre_is_inside(seed: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(3, 18, corners)
    points = np.stack([15 + radii * np.cos(angles), 12 + radii * np.sin(angles)], axis=1)
    filled = fill_polygon(points, (25, 30))
    contour = points.astype(np.float32)[:, None]
    for y in range(25):
        for x in range(30):
            distance = cv2.pointPolygonTest(contour, (x + 0.5, y + 0.5), True)
            if abs(distance) > 1e-3:
                assert filled[y, x] == (distance > 0)


def test_rectangle_is_exact_and_cut_at_the_edge() -> None:
    corners = np.array([[2.0, 1.0], [6.0, 1.0], [6.0, 4.0], [2.0, 4.0]])
    expected = np.zeros((8, 9), bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(fill_polygon(corners, (8, 9)), expected)
    assert np.array_equal(fill_polygon(corners[::-1], (8, 9)), expected)
    assert fill_polygon(corners - 4, (8, 9)).sum() == 0
    assert fill_polygon(corners + np.array([5, 0]), (8, 9)).sum() == 2 * 3


def test_self_crossing_polygon_has_no_hole() -> None:
    pentagram = np.array([[10 + 9 * np.sin(k * 4 * np.pi / 5), 10 - 9 * np.cos(k * 4 * np.pi / 5)] for k in range(5)])
    assert fill_polygon(pentagram, (20, 20))[10, 10]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_back(orientation: int) -> None:
    """Mark a pixel of the upright view of a stored image, and find it again in the stored one."""
    stored = np.arange(5 * 7).reshape(5, 7)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].T,
        8: np.rot90(stored, 1),
    }[orientation]
    for y, x in [(0, 0), (1, 3), (4, 2)]:
        centre = to_stored_pixels(np.array([[x + 0.5, y + 0.5]]), orientation, (5, 7))[0]
        assert stored[int(centre[1]), int(centre[0])] == upright[y, x]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_table_of_orientations_is_opencvs(orientation: int) -> None:
    """OpenCV, asked to obey EXIF, must put a bright corner where ``to_stored_pixels`` expects it."""
    stored = np.zeros((40, 64), np.uint8)
    stored[4:12, 40:56] = 255
    data = cv2.imencode(".jpg", stored)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation]) + b"\0\0\0\0\0\0"
    tagged = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    upright = cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_GRAYSCALE)
    rows, columns = np.nonzero(upright > 127)
    corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], float)
    turned = to_stored_pixels(corners, orientation, stored.shape)
    assert np.abs(np.sort(turned, axis=0) - [[40, 4], [56, 12]]).max() <= 1
