"""What images' making tells: their traits are measured right, and only what they tell is told."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from kerasortho.data.checking.findings import Finding
from kerasortho.data.checking.separability import separability_findings
from kerasortho.data.checking.traits import TRAITS, measure_traits
from kerasortho.data.manifest import Manifest

COUNT = 240


def measured(pixels: np.ndarray, data: bytes = b"") -> dict[str, float]:
    return dict(zip(TRAITS, measure_traits(pixels, data).tolist(), strict=True))


def test_traits_of_size_border_and_background() -> None:
    pixels = np.full((100, 200), 0.25, np.float32)
    pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:] = 1, 1, 1, 1
    found = measured(pixels, b"x" * 5000)
    assert (found["image width"], found["image height"], found["bits a pixel"]) == (200, 100, 2)
    assert found["aspect ratio"] == pytest.approx(np.log(2))
    assert (found["border grey"], found["background grey"], found["share of black"]) == (1, 0.25, 0)
    assert found["share of white"] == pytest.approx(1 - 94 * 194 / 20000)
    assert found["JPEG quantisation"] == found["noise"] == 0
    pixels[:6, :6] = pixels[:6, -6:] = pixels[-6:, :6] = 0.5
    assert measured(pixels)["corner grey"] == 0.5


def test_noise_is_that_of_the_stored_pixels() -> None:
    grain = np.random.default_rng(0).normal(0, 0.02, (800, 800)).astype(np.float32)
    assert measured(0.5 + grain)["noise"] > 1.5 > 0.2 > measured(np.full((800, 800), 0.5, np.float32))["noise"]


def test_quantisation_falls_with_quality() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    coarse, fine, best = (
        measured(
            picture / np.float32(255), cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        )
        for quality in (50, 90, 100)
    )
    # the standard's luminance table (ISO 10918-1, K.1) at quality 50, whose mean is 57.625, and ones at 100
    assert coarse["JPEG quantisation"] == pytest.approx(57.625) and best["JPEG quantisation"] == 1
    assert 1 < fine["JPEG quantisation"] < 20
    assert measured(picture / np.float32(255), b"\xff\xd8\xff\xdb\x00\x43")["JPEG quantisation"] == 0  # cut off


@pytest.fixture
def dataset(table: Callable[..., Manifest]) -> tuple[Manifest, list[np.ndarray | None]]:
    """240 images of 80 groups, whose traits depend on nothing."""
    random = np.random.default_rng(2)
    manifest = table(
        image=[f"{i}.png" for i in range(COUNT)],
        group=[str(i // 3) for i in range(COUNT)],
        label=["hand" if i // 3 % 2 else "leg" for i in range(COUNT)],
        split=["test" if i // 3 % 5 < 2 else "train" for i in range(COUNT)],
        hospital=["one" if i // 3 % 3 else "two" for i in range(COUNT)],
    )
    return manifest, list(random.normal(100, 10, (COUNT, len(TRAITS))).astype(np.float32))


def found(manifest: Manifest, traits: list[np.ndarray | None]) -> dict[str, Finding]:
    findings = separability_findings(manifest, traits, "hospital")
    return {finding.kind: finding for finding in findings if finding.cases}


def test_nothing_to_tell(dataset: tuple[Manifest, list[np.ndarray | None]]) -> None:
    findings = found(*dataset)
    assert set(findings) == {"traits_tell_little"}
    names = {case.names[0] for case in findings["traits_tell_little"].cases}
    assert names == {"test and train", "hand and leg", "one and two"}


@pytest.mark.parametrize(
    ("column", "value", "kind", "pair"),
    [
        ("label", "leg", "label_by_traits", "hand and leg"),
        ("hospital", "two", "source_by_traits", "one and two"),
        ("split", "test", "split_by_traits", "test and train"),
    ],
)
def test_what_the_width_tells(
    dataset: tuple[Manifest, list[np.ndarray | None]], column: str, value: str, kind: str, pair: str
) -> None:
    manifest, traits = dataset
    for row, values in zip(manifest.rows, traits, strict=True):
        if row[column] == value and values is not None:
            values[0] += 20
    traits[5] = None
    case = found(manifest, traits)[kind].cases[0]
    assert case.names == (pair,) and "alone tell most: image width" in case.detail
    assert float(case.detail.split()[1]) > 0.8


def test_sharpness_may_be_anatomy_and_tells_no_shortcut(dataset: tuple[Manifest, list[np.ndarray | None]]) -> None:
    manifest, traits = dataset
    for row, values in zip(manifest.rows, traits, strict=True):
        if row["label"] == "leg" and values is not None:
            values[TRAITS.index("sharpness")] += 50
    assert "label_by_traits" not in found(manifest, traits)


def test_too_few_groups_say_nothing(dataset: tuple[Manifest, list[np.ndarray | None]]) -> None:
    manifest, traits = dataset
    few = manifest.with_column("group", [row["label"] for row in manifest.rows])
    assert found(few, traits) == {}
