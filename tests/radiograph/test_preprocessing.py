from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.preprocessing import (
    Preprocessing,
    content_mask,
    letterbox,
    preprocess,
    preprocess_mask,
    resampling_matrix,
    to_native,
)

sides = st.integers(1, 300)
shapes = st.tuples(sides, sides)
sizes = st.tuples(st.integers(1, 96), st.integers(1, 96))


def blob(shape: tuple[int, int], seed: int) -> np.ndarray:
    """A smooth mask: blurred noise above its median."""
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), max(shape) / 8)
    return (smooth > np.median(smooth)).astype(np.uint8)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


@given(shapes, sizes)
@settings(deadline=None)
def test_letterbox_keeps_all_of_the_content_and_its_aspect_ratio(shape, size):
    box = letterbox(shape, size)
    assert box.top >= 0 and box.top + box.height <= size[0]
    assert box.left >= 0 and box.left + box.width <= size[1]
    assert box.height == size[0] or box.width == size[1]
    assert abs(2 * box.top + box.height - size[0]) <= 1 and abs(2 * box.left + box.width - size[1]) <= 1
    scale = min(size[0] / shape[0], size[1] / shape[1])
    assert abs(box.height - max(1, shape[0] * scale)) <= 0.5 + 1e-9
    assert abs(box.width - max(1, shape[1] * scale)) <= 0.5 + 1e-9
    assert content_mask(box).sum() == box.height * box.width


@given(st.integers(1, 3000), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_resampling_rows_sum_to_one_and_use_every_source_pixel(source, target):
    matrix = resampling_matrix(source, target)
    assert matrix.shape == (target, source) and matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    assert matrix.min() >= 0
    if source >= target:
        assert matrix.sum(axis=0).min() > 0  # nothing of the anatomy is skipped
    np.testing.assert_array_equal(matrix, matrix[::-1, ::-1])  # nothing moves sideways


@pytest.mark.parametrize("source, target", [(2880, 224), (100, 37), (17, 17)])
def test_shrinking_agrees_with_pillow(source, target):
    image = pytest.importorskip("PIL.Image")
    row = np.random.default_rng(3).random((1, source), dtype=np.float32)
    expected = np.asarray(image.fromarray(row, mode="F").resize((target, 1), image.Resampling.BILINEAR))
    np.testing.assert_allclose(row @ resampling_matrix(source, target).T, expected, atol=2e-5)


@given(shapes, sizes, st.floats(0, 1, width=32))
@settings(max_examples=60, deadline=None)
def test_constant_images_stay_constant(shape, size, value):
    pixels = np.full(shape, value, np.float32)
    kept, box = preprocess(pixels, Preprocessing(size, intensity="none"))
    np.testing.assert_allclose(kept[box.content], value, atol=1e-5)
    stretched, box = preprocess(pixels, Preprocessing(size))
    assert np.ptp(stretched[box.content]) < 1e-3
    np.testing.assert_allclose(to_native(kept, box), value, atol=1e-5)


@given(shapes, sizes, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_output_is_in_range_and_padding_is_black(shape, size, seed):
    pixels = np.random.default_rng(seed).random(shape, dtype=np.float32)
    result, box = preprocess(pixels, Preprocessing(size))
    assert result.shape == size and result.dtype == np.float32
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1
    assert (result[content_mask(box) == 0] == 0).all()


def test_percentiles_of_the_content_become_black_and_white():
    ramp = np.tile(np.linspace(0.2, 0.6, 200, dtype=np.float32), (100, 1))
    spec = Preprocessing((100, 200), low=10, high=90)
    result, _ = preprocess(ramp, spec)
    low, high = np.percentile(ramp, [10, 90])
    np.testing.assert_allclose(result, np.clip((ramp - low) / (high - low), 0, 1), atol=1e-5)
    assert (result == 0).mean() == pytest.approx(0.1, abs=0.01)


def test_padding_has_no_influence_on_the_percentiles():
    pixels = np.random.default_rng(0).random((64, 16), dtype=np.float32) * 0.5 + 0.4
    padded, box = preprocess(pixels, Preprocessing((64, 64)))
    tight, _ = preprocess(pixels, Preprocessing((64, 16)))
    np.testing.assert_allclose(padded[box.content], tight, atol=1e-6)


@pytest.mark.parametrize("gain, offset", [(0.5, 0.0), (0.25, 0.6), (0.9, 0.05)])
def test_exposure_is_taken_out(gain, offset):
    pixels = cv2.GaussianBlur(np.random.default_rng(1).random((300, 200), dtype=np.float32), (0, 0), 5)
    pixels = (pixels - pixels.min()) / np.ptp(pixels)
    one, _ = preprocess(pixels, Preprocessing())
    other, _ = preprocess((pixels * gain + offset).astype(np.float32), Preprocessing())
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_fine_checkerboard_becomes_grey_instead_of_a_pattern():
    board = (np.indices((2880, 2880)).sum(axis=0) % 2).astype(np.float32)
    result, _ = preprocess(board, Preprocessing((224, 224), intensity="none"))
    np.testing.assert_allclose(result, 0.5, atol=0.01)


@given(st.tuples(st.integers(40, 300), st.integers(40, 300)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_masks_return_from_the_model_to_the_image(shape, seed):
    mask = blob(shape, seed)
    spec = Preprocessing((96, 96))
    small = preprocess_mask(mask, spec)
    assert small.dtype == np.uint8 and set(np.unique(small)) <= {0, 1}
    back = to_native(small.astype(np.float32), letterbox(shape, spec.size))
    assert back.shape == shape and back.dtype == np.float32 and back.min() >= 0 and back.max() <= 1 + 1e-6
    assert dice(mask, (back >= 0.5).astype(np.uint8)) > 0.93


def test_mask_and_image_stay_aligned():
    pixels = np.zeros((301, 177), np.float32)
    pixels[40:90, 100:160] = 1
    spec = Preprocessing((64, 64), intensity="none")
    image, _ = preprocess(pixels, spec)
    np.testing.assert_array_equal(preprocess_mask(pixels.astype(np.uint8), spec), image >= 0.5 - 1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3), (7, 4000)])
def test_tiny_and_elongated_images(shape):
    pixels = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    result, box = preprocess(pixels, Preprocessing((64, 48)))
    assert result.shape == (64, 48) and box.height >= 1 and box.width >= 1
    assert to_native(result, box).shape == shape


def test_specification_travels_as_plain_values():
    spec = Preprocessing((320, 256), "percentile", 1.0, 99.0)
    assert Preprocessing.from_dict(spec.to_dict()) == spec
    assert spec.to_dict()["version"] == 1 and spec.to_dict()["size"] == [320, 256]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"sise": [1, 2]}, 'Did you mean "size"'),
        ({"intensity": "percentil"}, 'Did you mean "percentile"'),
        ({"version": 2}, "version 2"),
        ({"size": [0, 10]}, "size must be two integers"),
        ({"size": [10.0, 10]}, "size must be two integers"),
        ({"size": 224}, "size must be two integers"),
        ({"low": 99.5, "high": 0.5}, "must be below"),
        ({"low": float("nan")}, "percentile from 0 to 100"),
        ({"high": "99"}, "percentile from 0 to 100"),
        ({"low": 0.00001}, "three decimals"),
    ],
)
def test_wrong_specifications_are_explained(values, words):
    with pytest.raises(KerasOrthoError, match=words):
        Preprocessing.from_dict(values)


def test_wrong_shapes_are_explained():
    with pytest.raises(KerasOrthoError, match="one grey image"):
        preprocess(np.zeros((4, 4, 3), np.float32), Preprocessing())
    with pytest.raises(KerasOrthoError, match="at least one pixel"):
        preprocess(np.zeros((0, 4), np.float32), Preprocessing())
    with pytest.raises(KerasOrthoError, match="model's size"):
        to_native(np.zeros((5, 5), np.float32), letterbox((10, 10), (4, 4)))
