"""What a phantom radiograph shows: bone brighter than the tissue around it, and the mask on the bone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kerasortho.data.phantom import Content, Picture, take_picture
from kerasortho.data.phantom.labels import LABELS, TRUNK
from kerasortho.data.phantom.patients import LIMB_OF, draw_patient
from kerasortho.data.phantom.views import VIEWS

SEED = 2
PLAIN = Content(fractures=0, extras=0)
REGION_NUMBERS = {draw_patient(number, SEED).region: number for number in range(12)}


@pytest.fixture(scope="module")
def pictures() -> dict[str, Picture]:
    """A frontal view of every region."""
    return {
        region: take_picture(number, 0, size=256, seed=SEED, content=PLAIN) for region, number in REGION_NUMBERS.items()
    }


def contrast(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Mean grey just inside the mask's outline minus mean grey just outside."""
    square = np.ones((5, 5), np.uint8)
    inside = (mask > 0) & (cv2.erode(mask, square) == 0)
    outside = (mask == 0) & (cv2.dilate(mask, square) > 0)
    return float(pixels[inside].mean() - pixels[outside].mean())


def test_twelve_patients_show_every_region() -> None:
    assert set(REGION_NUMBERS) == set(LIMB_OF)


def test_pixels_are_a_radiograph(pictures: dict[str, Picture]) -> None:
    for picture in pictures.values():
        assert picture.pixels.dtype == np.float32
        assert picture.pixels.min() >= 0
        assert picture.pixels.max() <= 1
        assert max(picture.pixels.shape) == 256
        assert picture.mask.shape == picture.pixels.shape
        assert set(np.unique(picture.mask)) == {0, 1}
        assert 0.03 < picture.mask.mean() < 0.7


def test_bone_is_brighter_than_the_tissue_beside_it(pictures: dict[str, Picture]) -> None:
    for region, picture in pictures.items():
        assert contrast(picture.pixels, picture.mask) > 0.02, region


def test_the_mask_lies_on_the_bone(pictures: dict[str, Picture]) -> None:
    for region, picture in pictures.items():
        here = contrast(picture.pixels, picture.mask)
        for shift in ((0, 4), (0, -4), (4, 0), (-4, 0)):
            assert here > contrast(picture.pixels, np.roll(picture.mask, shift, (0, 1))), region


def test_views_differ_and_are_named() -> None:
    number = REGION_NUMBERS["knee"]
    views = [take_picture(number, view, size=64, seed=SEED, content=PLAIN) for view in range(3)]
    assert tuple(picture.view for picture in views) == VIEWS
    side = views[0].patient.side
    assert [picture.position for picture in views] == ["AP", side + "L", side + "LO"]
    assert len({picture.pixels.tobytes() for picture in views}) == 3
    assert len({picture.name for picture in views}) == 3


def test_the_same_seed_gives_the_same_picture() -> None:
    one, two, other = (take_picture(3, 1, size=64, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(one.pixels, two.pixels)
    assert np.array_equal(one.mask, two.mask)
    assert not np.array_equal(one.pixels, other.pixels)


def test_size_changes_the_sampling_not_the_scene() -> None:
    small, large = (take_picture(REGION_NUMBERS["hand"], 0, size=size, seed=SEED, content=PLAIN) for size in (192, 384))
    assert small.spacing == pytest.approx(2 * large.spacing, rel=0.02)
    shrunk = cv2.resize(large.mask.astype(np.float32), small.mask.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    overlap = 2 * (shrunk & (small.mask > 0)).sum() / (shrunk.sum() + small.mask.sum())
    assert overlap > 0.93


def test_children_are_smaller_than_adults() -> None:
    people = [draw_patient(number, 0) for number in range(400)]
    ages = np.array([person.age for person in people])
    sizes = np.array([person.size for person in people])
    assert sizes[ages < 8].mean() < 0.8 * sizes[ages > 18].mean()
    assert {person.side for person in people} == {"L", "R"}


def test_labels_cover_the_mask_and_ribs_are_no_limb(pictures: dict[str, Picture]) -> None:
    trunk = [LABELS[name] for name in TRUNK]
    for region, picture in pictures.items():
        assert picture.labels.dtype == np.uint8
        assert (picture.labels[picture.mask > 0] > 0).all(), region
        only_trunk = (picture.labels > 0) & (picture.mask == 0)
        assert np.isin(picture.labels[only_trunk], trunk).all(), region
    assert np.isin(pictures["shoulder"].labels, trunk).any()
    assert not np.isin(pictures["knee"].labels, trunk).any()


@pytest.mark.parametrize(
    ("region", "bones"),
    [
        ("hand", {"capitate", "metacarpal 3", "distal phalanx of finger 5", "radius", "ulna"}),
        ("foot", {"cuboid", "metatarsal 1", "middle phalanx of toe 2"}),
        ("knee", {"femur", "tibia", "fibula"}),
        ("hip", {"femur", "hip bone", "sacrum"}),
        ("shoulder", {"humerus", "scapula", "clavicle", "rib"}),
    ],
)
def test_each_region_shows_its_bones(pictures: dict[str, Picture], region: str, bones: set[str]) -> None:
    assert bones <= {name for name, value in LABELS.items() if (pictures[region].labels == value).any()}
