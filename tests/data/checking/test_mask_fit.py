"""Masks that were mirrored, turned, shifted or swapped are told from good ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data.checking.mask_fit import Fit, edges, fit, outline, outline_length, place_score
from kerasortho.data.checking.mask_fit_findings import _typical_score, mask_fit_findings
from kerasortho.data.inspection import inspect_manifest
from kerasortho.data.manifest import read_manifest
from kerasortho.radiograph.raster import write_png

SHAPE = (200, 150)


def bone(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image in [0, 1] of a bright, crooked bone in soft tissue, and its mask of {0, 1}."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.uint8)
    points = np.c_[rng.uniform(30, 110, 4), np.linspace(20, 180, 4)].astype(int)
    cv2.polylines(mask, [points.reshape(-1, 1, 2)], False, 1, int(rng.integers(14, 24)))
    cv2.circle(mask, tuple(int(v) for v in points[1]), int(rng.integers(14, 22)), 1, -1)
    image = 0.2 + 0.5 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
    return np.clip(image + rng.normal(0, 0.03, SHAPE), 0, 1).astype(np.float32), mask


WAYS = {
    "mirrored left-right": lambda mask: mask[:, ::-1],
    "mirrored top-bottom": lambda mask: mask[::-1],
    "rotated by 180 degrees": lambda mask: mask[::-1, ::-1],
    "rotated by 90 degrees clockwise": lambda mask: np.rot90(mask),
    "rotated by 90 degrees counter-clockwise": lambda mask: np.rot90(mask, -1),
    "transposed": lambda mask: mask.T,
    "transposed along the other diagonal": lambda mask: np.rot90(mask[:, ::-1], -1),
    "scaled by 2.00": lambda mask: cv2.warpAffine(mask, np.array([(0.5, 0, 0), (0, 0.5, 0)]), SHAPE[::-1]),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_done_to_a_mask_is_undone_in_words(way):
    image, mask = bone(1)
    found = fit(image, np.ascontiguousarray(WAYS[way](mask)))
    if way.startswith("transposed along"):
        assert found.way.startswith("transposed")
    else:
        assert found.way == way
    assert found.better > 0.5
    assert found.better - found.score > 0.3


def test_a_good_mask_fits_best_as_it_is():
    for seed in range(4):
        found = fit(*bone(seed))
        assert found.score > 0.6
        assert found.score >= found.better


def test_a_shift_is_told_with_its_direction():
    image, mask = bone(2)
    found = fit(image, np.roll(mask, (-20, 10), (0, 1)))
    assert found.way == "shifted by 10% down and 5% left of the longer side"


def test_the_outline_of_a_square_has_its_length():
    mask = np.zeros((192, 192), np.uint8)
    mask[50:100, 50:100] = 1
    assert outline_length(outline(mask, (192, 192))) == pytest.approx(200, rel=0.05)


def test_edges_and_outlines_that_agree_score_high_and_the_inverse_low():
    image, mask = bone(3)
    own = outline(mask, (192, 144))
    assert place_score(edges(image), own) > 0.6
    assert place_score(edges(1 - image), own) < -0.6


@pytest.fixture
def dataset(tmp_path):
    """Return a function that writes bones with masks, altered by row number, and returns the findings' cases."""

    def make(altered: dict[int, np.ndarray], count: int = 8) -> dict[str, dict[str, str]]:
        lines = ["image,mask"]
        for number in range(count):
            image, mask = bone(number)
            write_png(tmp_path / f"{number}.png", (image * 255).astype(np.uint8))
            write_png(tmp_path / f"{number}_mask.png", np.ascontiguousarray(altered.get(number, mask)) * 255)
            lines.append(f"{number}.png,{number}_mask.png")
        Path(tmp_path / "m.csv").write_text("\n".join(lines))
        manifest = read_manifest(tmp_path / "m.csv")
        found = mask_fit_findings(manifest, inspect_manifest(manifest))
        return {item.kind: {case.names[0]: case.detail for case in item.cases} for item in found}

    return make


def test_only_the_misfits_of_a_dataset_are_reported(dataset):
    swapped = {3: bone(5)[1], 5: bone(3)[1]}
    cases = dataset({1: bone(1)[1][:, ::-1], **swapped})
    assert set(cases["mask_misfit"]) == {"1.png", "3.png", "5.png"}
    assert "fits better when mirrored left-right" in cases["mask_misfit"]["1.png"]
    assert "than the mask of 5.png" in cases["mask_misfit"]["3.png"]
    assert cases["mask_fit_not_judged"] == {}


def test_small_marks_are_not_judged(dataset):
    dot = np.zeros(SHAPE, np.uint8)
    dot[5:12, 5:12] = 1
    cases = dataset({2: dot})
    assert cases["mask_misfit"] == {}
    assert set(cases["mask_fit_not_judged"]) == {"2.png"}


def test_where_no_outline_follows_edges_none_is_judged(dataset):
    box = np.zeros(SHAPE, np.uint8)
    box[20:180, 20:130] = 1
    cases = dataset({number: box for number in range(8)})
    assert cases["mask_misfit"] == {}
    assert len(cases["mask_fit_not_judged"]) == 8


def test_where_outlines_follow_no_edges_nothing_is_typical() -> None:
    fractures = [Fit(0.21, 0.5, f"scaled by {0.5 + n / 10:.2f}", 120) for n in range(10)]
    assert _typical_score(fractures) == pytest.approx(0.21)
    bones = [Fit(0.68, 0.5, "mirrored left and right", 300)] * 10
    assert _typical_score(bones) == pytest.approx(0.68)


def test_masks_that_are_all_mirrored_are_judged_by_what_they_would_score() -> None:
    exported = [Fit(0.1, 0.7, "mirrored left and right", 300)] * 9 + [Fit(0.1, 0.3, "transposed", 300)]
    assert _typical_score(exported) == pytest.approx(0.7)
    assert _typical_score([]) == 0
