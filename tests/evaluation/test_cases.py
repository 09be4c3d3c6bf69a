"""Pictures of cases: which are chosen, how rows and long names are titled."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kerasortho.evaluation.cases import choose_cases
from kerasortho.evaluation.judging import Segmented
from kerasortho.evaluation.segmentation import PixelScores
from kerasortho.evaluation.style import wrapped


def segmented(*hits: int, false_alarms: int = 0) -> Segmented:
    """Return images of 100 true pixels of which ``hits`` are found, and one image without any."""
    scores = [PixelScores(1000, hit, 0, 100 - hit, 0.1, 0.9) for hit in hits]
    scores.append(PixelScores(1000, 0, false_alarms, 0, 0.1, 0.9))
    return Segmented([SimpleNamespace(name=f"{i}.png") for i in range(len(scores))], scores)


def test_few_images_are_all_shown_and_not_called_worst() -> None:
    assert choose_cases(segmented(90, 10, 50)) == [("all, worst first", [1, 2, 0])]
    rows = choose_cases(segmented(*range(6), false_alarms=7))
    assert rows == [("all, worst first", [0, 1, 2, 3]), ("", [4, 5]), ("false alarms", [6])]


def test_of_many_images_worst_median_and_best_are_shown() -> None:
    rows = choose_cases(segmented(*range(20)))
    assert rows == [("worst", [0, 1, 2, 3]), ("median", [8, 9, 10, 11]), ("best", [16, 17, 18, 19])]


def test_images_without_anything_are_shown_too() -> None:
    assert choose_cases(segmented()) == [("nothing there, nothing marked", [0])]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("short.png", "short.png"),
        ("phantom-00107-2-elbow.png", "phantom-00107-2-\nelbow.png"),
        ("upper limb with shoulder girdle", "upper limb with\nshoulder girdle"),
        ("1.2.840.113619.2.55.3.604688119.0013.87", "1.2.840.113619.2.55.\n3.604688119.0013.87"),
        ("one-" + "x" * 35, "one-" + "x" * 16 + "\n" + "x" * 19),
        ("x" * 19 + "#" * 10 + "y" * 20, "x" * 19 + "…\n" + "y" * 20),
    ],
)
def test_long_names_go_on_a_second_line_before_their_middle_is_left_out(name: str, shown: str) -> None:
    assert wrapped(name, 20) == shown
    assert max(map(len, shown.split("\n"))) <= 20
