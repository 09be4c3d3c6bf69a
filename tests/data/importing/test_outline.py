"""Outlines give exactly the mask again, by our own rule and by pycocotools'."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as truth

from kerasortho.data.importing.exports_coco import annotate
from kerasortho.data.importing.outline import trace_outline
from kerasortho.data.importing.polygons import fill_polygon
from kerasortho.data.importing.run_lengths import decode, unpack


def test_a_square_and_a_step() -> None:
    square = np.ones((2, 3), bool)
    outline = trace_outline(square)
    assert outline is not None and outline.tolist() == [[0, 0], [3, 0], [3, 2], [0, 2]]
    square[0, 2] = False
    step = trace_outline(square)
    assert step is not None and step.tolist() == [[0, 0], [2, 0], [2, 1], [3, 1], [3, 2], [0, 2]]


def test_holes_and_pieces_have_no_single_outline() -> None:
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert trace_outline(ring) is None
    assert trace_outline(np.eye(2, dtype=bool)) is None


def test_a_piece_that_touches_itself_at_a_corner() -> None:
    """The background pixel in the middle is joined to the outside at a corner only: one outline goes around it."""
    mask = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)
    outline = trace_outline(mask)
    assert outline is not None and np.array_equal(fill_polygon(outline, (3, 3)), mask)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 0.8), st.integers(1, 4))
def test_annotations_give_the_mask_again(seed: int, share: float, blur: int) -> None:
    rng = np.random.default_rng(seed)
    noise = cv2.blur(rng.random((31, 37)), (blur, blur))
    mask = noise > np.quantile(noise, share)
    ours, theirs = np.zeros_like(mask), np.zeros_like(mask)
    for annotation in annotate(mask):
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, dict):
            piece = decode(unpack(segmentation["counts"]), mask.shape)
            of_them = truth.decode(segmentation | {"counts": segmentation["counts"].encode()})
        else:
            piece = fill_polygon(np.reshape(segmentation[0], (-1, 2)), mask.shape)
            of_them = truth.decode(truth.merge(truth.frPyObjects(segmentation, *mask.shape)))
        assert annotation["area"] == piece.sum()
        x, y, width, height = annotation["bbox"]
        assert piece[y : y + height, x : x + width].sum() == piece.sum()
        assert not (ours & piece).any()
        ours |= piece
        theirs |= of_them.astype(bool)
    assert np.array_equal(ours, mask) and np.array_equal(theirs, mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_thin_masks(shape: tuple[int, int]) -> None:
    outline = trace_outline(np.ones(shape, bool))
    assert outline is not None and len(outline) == 4
