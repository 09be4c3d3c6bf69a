"""Exposures that stand out are named, each for its fault; usual ones, and real radiographs, are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data.checking.exposure import Exposure, exposure_findings, measure_exposure
from kerasortho.data.checking.findings import Finding
from kerasortho.data.manifest import Manifest
from kerasortho.radiograph.reading import read_radiograph

Table = Callable[..., Manifest]
COUNT = 40


def found(manifest: Manifest, exposures: list[Exposure | None]) -> dict[str, Finding]:
    """Return the warnings; that the shafts of drawn limbs are burned out is only a remark."""
    findings = exposure_findings(manifest, exposures)
    return {finding.kind: finding for finding in findings if finding.cases and finding.level == "warning"}


@pytest.fixture(scope="module")
def limbs(draw_limb: Callable[..., np.ndarray]) -> list[np.ndarray]:
    return [draw_limb(seed).astype(np.float32) / 255 for seed in range(COUNT)]


@pytest.fixture
def manifest(table: Table) -> Manifest:
    return table(image=[f"{i}.png" for i in range(COUNT)])


def test_usual_exposures_are_not_named(limbs: list[np.ndarray], manifest: Manifest) -> None:
    assert found(manifest, [measure_exposure(limb) for limb in limbs]) == {}


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda limb: 0.02 * limb, {"low_contrast", "flat"}),
        (lambda limb: 0.9 + 0.1 * limb, {"too_bright", "flat"}),
        (lambda limb: 1 - limb, {"maybe_inverted", "too_bright"}),
    ],
)
def test_faults_are_named(
    limbs: list[np.ndarray], manifest: Manifest, change: Callable[[np.ndarray], np.ndarray], kinds: set[str]
) -> None:
    exposures: list[Exposure | None] = [measure_exposure(limb) for limb in limbs]
    exposures[7] = measure_exposure(change(limbs[7]))
    findings = found(manifest, exposures)
    assert kinds <= set(findings)
    assert {case.names for finding in findings.values() for case in finding.cases} == {("7.png",)}


def test_a_dark_image_among_bright_ones(limbs: list[np.ndarray], manifest: Manifest) -> None:
    exposures: list[Exposure | None] = [measure_exposure(np.clip(limb + 0.3, 0, 1)) for limb in limbs]
    exposures[3] = measure_exposure(limbs[3] * 0.3)
    assert found(manifest, exposures)["too_dark"].cases[0].names == ("3.png",)


def test_labels_are_compared_with_their_own(table: Table) -> None:
    """Pelves are brighter than hands: with labels that is nothing remarkable."""
    middles = [0.10 + 0.001 * (i % 7) for i in range(80)] + [0.50 + 0.001 * (i % 7) for i in range(20)]
    exposures: list[Exposure | None] = [Exposure(middle, 0.8, 0.2, 0.0) for middle in middles]
    images, labels = [f"{i}.png" for i in range(100)], ["hand"] * 80 + ["hip"] * 20
    assert len(found(table(image=images), exposures)["too_bright"].cases) == 20
    assert found(table(image=images, label=labels), exposures) == {}


def test_burned_out_parts_inside_the_image_are_named_and_white_borders_are_not() -> None:
    image = np.full((200, 200), 0.3, np.float32)
    image[:, :60] = 1
    assert measure_exposure(image).white == 0
    cv2.circle(image, (140, 100), 20, 1.0, -1)
    assert measure_exposure(image).white == pytest.approx(np.pi * 400 / 40000, rel=0.05)


def test_an_empty_image_has_an_exposure() -> None:
    assert measure_exposure(np.zeros((5, 7), np.float32)) == Exposure(0, 0, 0, 0)


def test_real_radiographs_inverted(real_data: Path) -> None:
    files = sorted((real_data / "data" / "FracAtlas" / "images" / "Non_fractured").glob("*.jpg"))[:600:20]
    pixels = [read_radiograph(file).pixels for file in files]
    assert not any(measure_exposure(image).tone > 0.65 for image in pixels)
    assert sum(measure_exposure(1 - image).tone > 0.65 for image in pixels) >= 0.9 * len(pixels)
