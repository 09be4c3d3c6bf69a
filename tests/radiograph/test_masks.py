"""Masks, and PNG files as they are written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_mask
from kerasortho.radiograph.raster import encode_png, write_png
from kerasortho.radiograph.reading import read_mask_values

SCENE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 90), np.uint8), (0, 0), 3)
SCENE = cv2.normalize(SCENE, None, 0, 255, cv2.NORM_MINMAX)  # (H, W) uint8, smooth


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_masks(tmp_path: Path, white):
    truth = (SCENE > 128).astype(np.uint8)
    path = tmp_path / "mask.png"
    write_png(path, truth.astype(np.uint16 if white > 255 else np.uint8) * white)
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, truth)
    assert set(np.unique(read_mask_values(path))) == {0, white}


def test_bool_and_empty_and_full_masks(tmp_path: Path):
    path = tmp_path / "mask.png"
    for truth in (SCENE > 128, np.zeros((5, 7), bool), np.ones((5, 7), bool)):
        write_png(path, truth)
        assert read_mask_values(path).max() == 255 * truth.max()
        np.testing.assert_array_equal(read_mask(path), truth)
    assert cv2.imwrite(str(tmp_path / "one.tif"), SCENE // 200, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    np.testing.assert_array_equal(read_mask(tmp_path / "one.tif"), SCENE // 200)


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 2), (7,), (1, 255), tuple(range(50))])
def test_other_masks_are_refused(tmp_path: Path, values):
    path = tmp_path / "mask.png"
    write_png(path, np.resize(np.array(values, np.uint8), (10, 10)))
    with pytest.raises(KerasOrthoError, match=r"no other values than 0 and 1, or 0 and 255; this file holds \d"):
        read_mask(path)
    assert set(np.unique(read_mask_values(path))) == set(values)


def test_jpeg_masks_are_refused_with_the_reason(tmp_path: Path):
    path = tmp_path / "mask.jpg"
    path.write_bytes(cv2.imencode(".jpg", (SCENE > 128).astype(np.uint8) * 255)[1].tobytes())
    with pytest.raises(KerasOrthoError, match="JPEG blurs masks"):
        read_mask(path)


@pytest.mark.parametrize("image", [SCENE, SCENE.astype(np.uint16) * 200, cv2.merge([SCENE, SCENE // 2, SCENE // 3])])
def test_write_png_returns_what_it_was_given(tmp_path: Path, image):
    write_png(tmp_path / "new folder" / "image.png", image)
    stored = cv2.imread(str(tmp_path / "new folder" / "image.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored[..., ::-1] if image.ndim == 3 else stored, image)
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["image.png"]


def test_write_png_refuses_floats():
    with pytest.raises(ValueError, match="PNG takes"):
        encode_png(np.zeros((4, 4), np.float32))
