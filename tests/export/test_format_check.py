"""How formats are compared: padding does not count, and images that cannot be read are left out by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.export.format_check import CALLS, TURNS, content_only, differences, latencies, prepare
from kerasortho.radiograph.preprocessing import Preprocessing, letterbox

SEGMENTER, CLASSIFIER = {"task": "segmentation", "threshold": 0.5}, {"task": "classification"}
BOXES = [letterbox((10, 20), (20, 20)), letterbox((20, 20), (20, 20))]  # rows 5 to 14 of the first; all of the second


def test_padding_does_not_count() -> None:
    before = np.full((2, 20, 20), 0.9, np.float32)
    after = before.copy()
    after[0, :5] = after[0, 15:] = 0.0
    assert differences(before, after, BOXES, SEGMENTER) == {"largest_difference": 0.0, "agreement": 1.0}
    after[0, 5:10] = 0.4  # half of the content
    found = differences(before, after, BOXES, SEGMENTER)
    assert found["largest_difference"] == pytest.approx(0.5)
    assert found["agreement"] == pytest.approx((2 / 3 + 1) / 2)
    assert content_only(before, BOXES)[0].sum() == pytest.approx(0.9 * 200)


def test_empty_masks_agree() -> None:
    nothing = np.zeros((2, 20, 20), np.float32)
    assert differences(nothing, nothing + 0.4, BOXES, SEGMENTER)["agreement"] == 1.0
    assert differences(nothing, nothing + 0.6, BOXES, SEGMENTER)["agreement"] == 0.0


def test_labels() -> None:
    before = np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)
    after = np.array([[0.45, 0.55], [0.1, 0.9]], np.float32)
    found = differences(before, after, BOXES, CLASSIFIER)
    assert found["agreement"] == 0.5 and found["largest_difference"] == pytest.approx(0.2)


def test_images_that_cannot_be_read_are_left_out(tiny: SimpleNamespace, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    tiny.write_image(files[0], (10, 20), True, 0)
    files[1].write_text("no image")
    tiny.write_image(files[2], (20, 20), False, 1)
    prepared = prepare(files, Preprocessing((20, 20)), "reading")
    assert prepared.files == [files[0], files[2]] and list(prepared.unusable) == [files[1]]
    assert prepared.images.shape == (2, 20, 20) and list(prepared.boxes) == BOXES
    with pytest.raises(KerasOrthoError, match="None of the 1 images can be used"):
        prepare(files[1:2], Preprocessing((20, 20)), "reading")


def test_networks_take_turns() -> None:
    order: list[str] = []
    networks = {name: lambda image, name=name: order.append(name) or image for name in ("a", "b")}
    found = latencies(networks, np.zeros((3, 4, 4), np.float32))  # type: ignore[arg-type]
    turn = ["a"] * (1 + CALLS) + ["b"] * (1 + CALLS)  # the first call of a turn is not timed
    assert order == turn * TURNS
    assert set(found) == {"a", "b"} and min(found.values()) >= 0
