"""Small random models, each built once for all tests: building them is what takes the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import keras
import numpy as np
import pytest

from kerasortho.models import MODELS, build_model, unfreeze

SIZE = (32, 32)


@pytest.fixture(scope="session")
def built() -> Callable[[str], keras.Model]:
    """Give the small model of a name. A test that changes which layers are trained must put that back."""
    return cache(build_small)


@pytest.fixture(scope="session")
def build_new() -> Callable[[str], keras.Model]:
    """Build the small model of a name anew."""
    return build_small


def build_small(name: str) -> keras.Model:
    # no weights to load, yet BatchNorm as with them
    wanted = {"depth": 2, "base_filters": 4, "weights": None, "learn_batchnorm_from": None}
    options = {option: value for option, value in wanted.items() if option in MODELS[name].options}
    return build_model(name, input_size=SIZE, classes=2 if MODELS[name].task == "classification" else 1, **options)


@pytest.fixture
def mobilenet(built: Callable[[str], keras.Model]) -> Iterator[keras.Model]:
    """The small MobileNetV2 classifier, frozen before and after."""
    model = built("mobilenetv2")
    unfreeze(model, None)
    yield model
    unfreeze(model, None)


@pytest.fixture
def float32_policy_after() -> Iterator[None]:
    """Put the precision policy back, whatever the test did."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images() -> np.ndarray:
    """Two grey images ``(2, 32, 32, 1)`` float32 in [0, 1]."""
    return np.random.default_rng(0).random((2, *SIZE, 1), dtype=np.float32)
