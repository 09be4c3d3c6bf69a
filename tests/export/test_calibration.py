"""Which training images calibrate: classes and groups alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data.samples import Sample
from kerasortho.export.calibration import choose_calibration


def sample(number: int, label: int, group: str) -> Sample:
    return Sample(f"{number}.png", Path(f"{number}.png"), None, None, label, group, "train", {})


@pytest.fixture
def samples() -> list[Sample]:
    """Class 0 is common, and one patient of it has nearly all its images; class 1 is rare."""
    common = [sample(i, 0, "many" if i < 60 else f"p{i}") for i in range(70)]
    return common + [sample(100 + i, 1, f"q{i // 2}") for i in range(8)]


def test_classes_take_turns(samples: list[Sample]) -> None:
    assert Counter(s.label for s in choose_calibration(samples, 12)) == {0: 6, 1: 6}
    assert Counter(s.label for s in choose_calibration(samples, 30)) == {0: 22, 1: 8}


def test_groups_take_turns(samples: list[Sample]) -> None:
    chosen = choose_calibration(samples, 16)
    groups = Counter(s.group for s in chosen)
    assert groups["many"] == 1 and set(groups) >= {"q0", "q1", "q2", "q3"}
    assert len(choose_calibration(samples[:70], 11)) == 11
    assert Counter(s.group for s in choose_calibration(samples[:70], 11)) == {
        "many": 1,
        **{f"p{i}": 1 for i in range(60, 70)},
    }


def test_no_image_twice_and_all_of_few(samples: list[Sample]) -> None:
    assert sorted(s.name for s in choose_calibration(samples, 1000)) == sorted(s.name for s in samples)


def test_the_same_choice_every_time(samples: list[Sample]) -> None:
    assert choose_calibration(samples, 20) == choose_calibration(samples, 20)


def test_images_with_and_without_foreground_take_turns(tmp_path: Path) -> None:
    """Fractures are rare: a model calibrated on images without any would not know its own largest answers."""
    masks = {kind: tmp_path / f"{kind}.png" for kind in (False, True)}
    for kind, path in masks.items():
        cv2.imwrite(str(path), np.full((4, 4), 255 * kind, np.uint8))
    fractured = [i % 8 == 0 for i in range(160)]
    samples = [replace(sample(i, -1, f"p{i // 2}"), mask=masks[kind]) for i, kind in enumerate(fractured)]
    chosen = choose_calibration(samples, 20)
    assert [s.mask == masks[True] for s in chosen] == [True, False] * 10
    assert len({s.group for s in chosen}) == 20
    assert sorted(s.name for s in choose_calibration(samples, 1000)) == sorted(s.name for s in samples)
    rare = choose_calibration([s for s in samples if s.mask == masks[False]] + samples[:1], 20)
    assert len(rare) == 20 and sum(s.mask == masks[True] for s in rare) <= 1


def test_all_images_with_foreground(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "bone.png"), np.full((4, 4), 255, np.uint8))
    samples = [replace(sample(i, -1, f"p{i}"), mask=tmp_path / "bone.png") for i in range(30)]
    assert len({s.name for s in choose_calibration(samples, 12)}) == 12
