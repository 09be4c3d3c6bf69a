"""Lettering is found where it was burned in, and nowhere else: drawn limbs, real radiographs, real markers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib.font_manager
import numpy as np
import pytest
from matplotlib.textpath import TextPath

from kerasortho.data.checking.text_detection import Lettering, find_lettering
from kerasortho.radiograph.reading import read_radiograph

Drawer = Callable[..., np.ndarray]


def lettered(text: str, cap: int, family: str = "DejaVu Sans", weight: str = "bold") -> np.ndarray:
    """Text as a (h, w) float32 share of ink, capitals ``cap`` px high, in fonts that the detector does not know."""
    font = matplotlib.font_manager.FontProperties(family=family, weight=weight)
    path, fine = TextPath((0, 0), text, size=100, prop=font), 8
    scale = cap * fine / TextPath((0, 0), "H", size=100, prop=font).get_extents().height
    extents = path.get_extents()
    canvas = np.zeros((int(extents.height * scale) + 2 * fine, int(extents.width * scale) + 2 * fine), np.uint8)
    origin = np.array([extents.x0, extents.y0])
    outlines = [np.rint((part - origin) * scale + fine).astype(np.int32) for part in path.to_polygons()]
    cv2.fillPoly(canvas, outlines, 255)
    size = canvas.shape[1] // fine, canvas.shape[0] // fine
    return np.asarray(cv2.resize(canvas[::-1], size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)


def burn(pixels: np.ndarray, ink: np.ndarray, x: int, y: int, level: float = 1.0) -> np.ndarray:
    result = pixels.copy()
    area = result[y : y + ink.shape[0], x : x + ink.shape[1]]
    area[:] = area * (1 - ink) + level * ink
    return result


def covers(found: list[Lettering], ink: np.ndarray, x: int, y: int) -> bool:
    """Whether most of the ink lies in the boxes."""
    mask = np.zeros((y + ink.shape[0] + 1, x + ink.shape[1] + 1), bool)
    for left, top, width, height in (item.box for item in found):
        mask[top : top + height, left : left + width] = True
    inside = mask[y : y + ink.shape[0], x : x + ink.shape[1]]
    return bool(inside[ink > 0.5].mean() > 0.8)


@pytest.fixture(scope="module")
def limb(draw_limb: Drawer) -> np.ndarray:
    return cv2.GaussianBlur(draw_limb(3, (600, 480)), (0, 0), 1.5).astype(np.float32) / 255


def test_a_limb_has_no_lettering(draw_limb: Drawer) -> None:
    for seed in range(8):
        image = cv2.GaussianBlur(draw_limb(seed, (600, 480)), (0, 0), 1.5)
        assert find_lettering(image.astype(np.float32) / 255) == []


@pytest.mark.parametrize("text", ["LEFT HAND AP", "2021-03-04", "KNEE RIGHT LAT", "PORTABLE"])
@pytest.mark.parametrize("family", ["DejaVu Sans", "DejaVu Sans Mono"])
@pytest.mark.parametrize("cap", [12, 20])
def test_lines_of_text_are_found(limb: np.ndarray, text: str, family: str, cap: int) -> None:
    ink = lettered(text, cap, family)
    found = find_lettering(burn(limb, ink, 20, 12))
    assert covers(found, ink, 20, 12) and {item.kind for item in found} == {"text"}


def test_turned_and_dark_text_is_found() -> None:
    grey = np.full((500, 400), 0.5, np.float32)
    ink = np.ascontiguousarray(np.rot90(lettered("RT FOREARM", 14)))
    assert covers(find_lettering(burn(grey, ink, 370, 60)), ink, 370, 60)
    assert covers(find_lettering(burn(grey, ink, 370, 60, level=0.05)), ink, 370, 60)


@pytest.mark.parametrize("letter", ["L", "R"])
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_lone_markers_are_read(limb: np.ndarray, letter: str, turns: int) -> None:
    ink = np.ascontiguousarray(np.rot90(lettered(letter, 20), turns))
    found = find_lettering(burn(limb, ink, 430, 20))
    assert [(item.kind, item.reading) for item in found] == [("marker", letter)]
    assert covers(found, ink, 430, 20)


def test_a_letter_on_a_plate_is_boxed_with_its_plate(limb: np.ndarray) -> None:
    image = limb.copy()
    image[20:50, 400:440] = 1
    found = find_lettering(burn(image, lettered("R", 20), 411, 24, level=0.0))
    assert [(item.kind, item.reading) for item in found] == [("marker", "R")]
    x, y, width, height = found[0].box
    assert x <= 400 and y <= 20 and x + width >= 440 and y + height >= 50 and width < 50 and height < 40


def test_a_large_image_gives_boxes_in_its_own_pixels(limb: np.ndarray) -> None:
    large = cv2.resize(limb, (1920, 2400), interpolation=cv2.INTER_CUBIC)
    ink = lettered("LEFT HAND AP", 48)
    assert covers(find_lettering(burn(large, ink, 100, 2200)), ink, 100, 2200)


def test_tiny_images_have_none() -> None:
    assert find_lettering(np.zeros((5, 4), np.float32)) == []


def test_markers_of_real_radiographs(real_data: Path) -> None:
    folder = real_data / "data" / "FracAtlas" / "images"

    def found(name: str) -> list[tuple[str, str]]:
        file = next(folder.glob(f"*/{name}.jpg"))
        return [(item.kind, item.reading) for item in find_lettering(read_radiograph(file).pixels)]

    for name in ("IMG0000259", "IMG0000001", "IMG0002379"):  # a dark R on a white plate
        assert found(name) == [("marker", "R")]
    for name in ("IMG0000006", "IMG0002301", "IMG0000282", "IMG0001073"):  # such an L, and a faint one of lead
        assert found(name) == [("marker", "L")]
    with (real_data / "data" / "FracAtlas" / "dataset.csv").open() as table:
        names = [row["image_id"].removesuffix(".jpg") for row in csv.DictReader(table)][100:1000:60]
    seen = [name for name in names if list(folder.glob(f"*/{name}.jpg"))]
    assert [name for name in seen if found(name)] == []  # looked through by eye: none of these has any
