"""The did-you-mean."""

from __future__ import annotations

import pytest

from kerasortho.errors import KerasOrthoError, did_you_mean, find_exhausted


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Graph execution error:\n\nat node X\nOOM when allocating shape[8,9]\nhint", ("memory", "OOM when")),
        ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", ("memory", "CUDA_ERROR")),
        ("Graph execution error:\n  cuBLAS: CUBLAS_STATUS_ALLOC_FAILED", ("memory", "cuBLAS")),
        ("Graph execution error:\nlogs/events.v2; No space left on device", ("disk", "logs/events.v2")),
        ("Graph execution error:\nIncompatible shapes: [1] against [2]", None),
        ("", None),
    ],
)
def test_what_ran_out_is_found_deep_in_a_message(text, found):
    answer = find_exhausted(RuntimeError(text))
    assert (answer and (answer[0], answer[1].startswith(found[1]))) == (found and (found[0], True))


def test_the_message_is_the_exception():
    assert str(KerasOrthoError("leg.png is truncated.")) == "leg.png is truncated."
