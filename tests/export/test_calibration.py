"""Which training images calibrate: classes and groups alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

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
