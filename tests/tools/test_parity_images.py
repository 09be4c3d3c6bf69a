"""tools/parity_images.py: the kinds of files it writes, and that nothing of the radiographs' names is in them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kerasortho.radiograph.reading import read_radiograph

NAMES = ["16-bit.png", "1760x2140.jpg", "2880x2304.png", "colour.jpg", "rotated.jpg", "small.png"]


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "tools" / "parity_images.py"))


@pytest.fixture
def radiographs(tmp_path: Path) -> Path:
    folder = tmp_path / "radiographs"
    folder.mkdir()
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((454, 373)).astype(np.float32), (0, 0), 9)
    image = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    for number in range(4):
        cv2.imwrite(str(folder / f"miller-anna-{number}.png"), image if number != 2 else image[:, ::-1])
    (folder / "miller-anna-0.png").write_text("no image")
    return folder


def test_every_kind_is_written(tool: dict[str, Any], radiographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "parity"
    assert tool["main"]([str(radiographs), str(output), "--count", "2"]) == 0
    assert sorted(file.name for file in output.iterdir()) == [f"{n:02d}-{name}" for n in (1, 2) for name in NAMES]
    found = {name: read_radiograph(output / f"01-{name}") for name in NAMES}
    assert {name: one.pixels.shape for name, one in found.items()} == {
        "small.png": (320, 263), "1760x2140.jpg": (2140, 1760), "2880x2304.png": (2304, 2880),
        "16-bit.png": (454, 373), "colour.jpg": (454, 373), "rotated.jpg": (454, 373),
    }  # fmt: skip
    stored = {name: cv2.imread(str(output / f"01-{name}"), cv2.IMREAD_UNCHANGED) for name in NAMES}
    assert stored["16-bit.png"].dtype == np.uint16 and stored["colour.jpg"].shape == (454, 373, 3)
    assert found["rotated.jpg"].tags["exif_orientation"] == 6
    original = read_radiograph(radiographs / "miller-anna-2.png").pixels
    np.testing.assert_array_equal(found["16-bit.png"].pixels, original)
    np.testing.assert_allclose(found["rotated.jpg"].pixels, original, atol=0.02)


def test_the_middle_keeps_its_proportions(tool: dict[str, Any]) -> None:
    pixels = np.zeros((100, 400), np.float32)
    assert tool["middle"](pixels, 20, 10).shape == (100, 200)
    assert tool["middle"](pixels, 10, 20).shape == (100, 50)
    assert tool["middle"](pixels[:, :3], 10, 1).shape == (1, 3)


def test_what_cannot_be_done_is_told(
    tool: dict[str, Any], radiographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool["main"]([str(radiographs), str(radiographs)]) == 2
    assert "is not empty" in capsys.readouterr().err
    for file in radiographs.iterdir():
        file.write_text("no image")
    assert tool["main"]([str(radiographs), str(tmp_path / "new")]) == 2
    assert "None of the 4 files" in capsys.readouterr().err
