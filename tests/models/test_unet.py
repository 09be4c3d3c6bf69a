"""The U-Net: the paper's size, its shapes, its input rule, its starting answer."""

from __future__ import annotations

import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, count_parameters


def paper_parameters(depth: int, base: int) -> int:
    """Count by hand: two 3 x 3 convolutions with BatchNorm a level, a 2 x 2 transposed one back up, the output."""

    def pair(inputs: int, filters: int) -> int:
        return 9 * inputs * filters + 9 * filters * filters + 2 * 4 * filters

    widths = [base * 2**level for level in range(depth + 1)]
    down = sum(pair(i, f) for i, f in zip([1, *widths], widths, strict=False))
    up = sum(4 * 2 * f * f + f + pair(2 * f, f) for f in widths[:-1])
    return down + up + base + 1


@pytest.mark.parametrize(("depth", "base"), [(4, 64), (2, 8)])
def test_parameter_count_is_the_papers(depth: int, base: int) -> None:
    model = build_model("unet", input_size=(64, 64), depth=depth, base_filters=base)
    assert count_parameters(model).total == paper_parameters(depth, base)
    if (depth, base) == (4, 64):
        assert 31.0e6 < count_parameters(model).trained < 31.1e6


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("depth", [1, 6])
def test_output_is_as_large_as_the_input(depth: int, upsampling: str) -> None:
    model = build_model("unet", input_size=(64, 128), depth=depth, base_filters=2, upsampling=upsampling, dropout=0.1)
    assert model.output.shape == (None, 64, 128, 1)


def test_softmax_gives_two_channels_that_sum_to_one(images: np.ndarray) -> None:
    model = build_model("unet", input_size=(32, 32), depth=1, base_filters=2, activation="softmax")
    answer = model(images, training=False).numpy()
    assert answer.shape == (2, 32, 32, 2)
    np.testing.assert_allclose(answer.sum(axis=-1), 1, atol=1e-6)


def test_wrong_size_names_the_nearest_valid_ones() -> None:
    with pytest.raises(KerasOrthoError, match=r"width.*multiple of 16.*Received: 250.*240 and 256"):
        build_model("unet", input_size=(256, 250))
    with pytest.raises(KerasOrthoError, match="from 1 to 6"):
        build_model("unet", input_size=(256, 256), depth=7)
    with pytest.raises(KerasOrthoError, match='Did you mean "bilinear"'):
        build_model("unet", input_size=(256, 256), upsampling="bilinar")


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_prior_is_about_the_first_answer(activation: str, images: np.ndarray) -> None:
    model = build_model("unet", input_size=(32, 32), depth=2, base_filters=8, activation=activation, prior=0.02)
    answer = np.asarray(model(images, training=True))[..., -1]
    assert 0.01 < answer.mean() < 0.04


def test_prior_must_be_a_share() -> None:
    with pytest.raises(KerasOrthoError, match='"prior"'):
        build_model("unet", input_size=(64, 64), prior=1.0)
