"""Small models, built once."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest


@pytest.fixture
def float32_policy_after() -> Iterator[None]:
    """Put the precision policy back, whatever the test did."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images() -> np.ndarray:
    """Two grey images ``(2, 64, 64, 1)`` float32 in [0, 1]."""
    return np.random.default_rng(0).random((2, 64, 64, 1), dtype=np.float32)
