"""Run lengths, against pycocotools, whose format they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as truth

from kerasortho.data.importing.run_lengths import decode, encode, pack, unpack
from kerasortho.errors import KerasOrthoError


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_both_ways_as_pycocotools(seed: int, height: int, width: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((height, width)) < share, rng.integers(1, 9), axis=0)
    theirs = truth.encode(np.asfortranarray(mask.astype(np.uint8)))
    packed = pack(encode(mask))
    assert packed == theirs["counts"].decode()
    assert np.array_equal(decode(unpack(packed), mask.shape), mask)
    assert np.array_equal(truth.decode({"size": list(mask.shape), "counts": packed.encode()}), mask)


@pytest.mark.parametrize(
    ("counts", "message"), [([3, 4], "7 pixels for an image of 4x3"), ([13, -1], "negative"), ([], "0 pixels")]
)
def test_counts_that_do_not_fit(counts: list[int], message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        decode(counts, (3, 4))


@pytest.mark.parametrize(("text", "message"), [("0a!", "character '!'"), ("0a", "end within a number")])
def test_damaged_text(text: str, message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        unpack(text)
