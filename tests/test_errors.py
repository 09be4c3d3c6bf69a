"""The did-you-mean."""

from __future__ import annotations

import pytest

from kerasortho.errors import KerasOrthoError, did_you_mean


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("unte", ' Did you mean "unet"?'),
        ("UNET", ' Did you mean "unet"?'),
        ("resnet5", ' Did you mean "ResNet50"?'),
        ("qqqqqqqq", ""),
        ("", ""),
    ],
)
def test_closest_known_word_in_its_own_spelling(word, answer):
    assert did_you_mean(word, ["unet", "ResNet50", "mobilenetv2"]) == answer


def test_words_may_come_once_only():
    assert did_you_mean("epocs", (name for name in ["batch", "epochs"])) == ' Did you mean "epochs"?'


def test_nothing_known():
    assert did_you_mean("unet", []) == ""


def test_the_message_is_the_exception():
    assert str(KerasOrthoError("leg.png is truncated.")) == "leg.png is truncated."
