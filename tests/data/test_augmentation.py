"""Augmentation: image and mask stay together, the seed decides, off is off, and values stay where they belong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import tensorflow as tf

from kerasortho.data.augmentation import augment
from kerasortho.data.augmentation_spec import Augmentation
from kerasortho.errors import KerasOrthoError

GEOMETRY = {
    "horizontal_flip": True,
    "vertical_flip": True,
    "quarter_turn": 0.5,
    "rotation": 30.0,
    "scale": (0.7, 1.4),
    "shift": 0.15,
    "elastic": 4.0,
}
INTENSITY = {
    "gamma": 0.5,
    "contrast": 0.4,
    "brightness": 0.2,
    "tone_curve": 0.7,
    "local_contrast": 1.0,
    "blur": 1.5,
    "resolution_loss": 0.6,
    "noise": 0.05,
    "invert": 0.5,
}
EVERYTHING = {**GEOMETRY, **INTENSITY, "collimation": 0.5}

Vary = Callable[..., tuple[np.ndarray, np.ndarray]]


def vary(
    image: np.ndarray, targets: np.ndarray | None, seed: int, content: np.ndarray | None = None, **amounts: object
) -> tuple[np.ndarray, np.ndarray]:
    spec = Augmentation(**amounts)
    moved, labels = augment(
        tf.constant(image),
        None if targets is None else tf.constant(targets),
        tf.constant([seed, 1], tf.int32),
        spec,
        None if content is None else tf.constant(content),
    )
    return moved.numpy(), None if labels is None else labels.numpy()


@pytest.fixture
def blob() -> np.ndarray:
    """A smooth off-centre shape ``(64, 80, 1)`` float32 in [0, 1] whose values above 1/2 are its own mask."""
    y, x = np.mgrid[0:64, 0:80].astype(np.float32)
    bone = np.exp(-(((x - 30) / 18) ** 2 + ((y - 26) / 9) ** 2))
    return (bone + np.exp(-(((x - 55) / 7) ** 2 + ((y - 40) / 12) ** 2)))[..., None].clip(0, 1).astype(np.float32)


def masked(image: np.ndarray) -> np.ndarray:
    """Return ``(h, w, 2)``: the mask of values above 1/2, and weights of 1."""
    return np.concatenate([image > 0.5, np.ones_like(image)], axis=-1).astype(np.float32)


def test_off_is_the_identity(blob: np.ndarray) -> None:
    image, targets = vary(blob, masked(blob), 3)
    np.testing.assert_array_equal(image, blob)
    np.testing.assert_array_equal(targets, masked(blob))
    assert Augmentation().is_identity and not Augmentation(noise=0.1).is_identity


@pytest.mark.parametrize("name", [*GEOMETRY, "all"])
def test_mask_moves_with_the_image(name: str, blob: np.ndarray) -> None:
    amounts = GEOMETRY if name == "all" else {name: GEOMETRY[name]}
    gaps = []
    for seed in range(24):
        image, targets = vary(blob, masked(blob), seed, **amounts)
        mask, inside = targets[..., 0] > 0, targets[..., 1] > 0
        expected = (image[..., 0] > 0.5) & inside
        disagree = (mask != expected) & inside
        # The nearest pixel is at most 0.71 px away, and the shape rises by less than 0.14 a pixel.
        assert (np.abs(image[..., 0] - 0.5)[disagree] < 0.1).all(), f"seed {seed}"
        gaps.append(np.argwhere(mask).mean(axis=0) - np.argwhere(expected).mean(axis=0))
    # Rounding may move the whole mask by up to half a pixel in one image, but not on the average.
    assert np.abs(gaps).max() < 0.75 and np.abs(np.mean(gaps, axis=0)).max() < 0.15


@pytest.mark.parametrize("name", GEOMETRY)
def test_each_move_moves(name: str, blob: np.ndarray) -> None:
    moved = [vary(blob, None, seed, **{name: GEOMETRY[name]})[0] for seed in range(12)]
    assert sum(np.abs(image - blob).max() > 0.05 for image in moved) >= 4


def test_flips_and_square_quarter_turns_are_exact() -> None:
    square = np.random.default_rng(0).random((32, 32, 1), dtype=np.float32)
    expected = [np.rot90(flipped, turns) for flipped in (square, square[:, ::-1]) for turns in range(4)]
    seen = set()
    for seed in range(60):
        image, targets = vary(square, masked(square), seed, horizontal_flip=True, vertical_flip=True, quarter_turn=0.75)
        matches = [i for i, candidate in enumerate(expected) if np.allclose(image, candidate, atol=1e-4)]
        assert len(matches) == 1
        np.testing.assert_array_equal(targets[..., 0], masked(expected[matches[0]])[..., 0])
        seen.add(matches[0])
    assert seen == set(range(8))


def test_turned_oblong_images_are_fitted_in() -> None:
    image = np.ones((32, 64, 1), np.float32)
    turned = next(
        moved for moved in (vary(image, None, seed, quarter_turn=1.0)[0] for seed in range(20)) if moved[0, 0, 0] == 0
    )
    assert turned.sum() == pytest.approx(32 * 16, rel=0.1)  # half as large: nothing was cut off


def test_seed_decides_in_graph_and_outside(blob: np.ndarray) -> None:
    spec = Augmentation(**EVERYTHING)
    in_graph = tf.function(lambda seed: augment(tf.constant(blob), tf.constant(masked(blob)), seed, spec))
    answers = []
    for seed in (1, 1, 2):
        image, targets = vary(blob, masked(blob), seed, **EVERYTHING)
        answers.append(image)
        graph_image, graph_targets = in_graph(tf.constant([seed, 1], tf.int32))
        np.testing.assert_allclose(graph_image, image, atol=1e-3)  # grey levels are looked up in 4096 steps
        np.testing.assert_array_equal(graph_targets, targets)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).max() > 0.05


@pytest.mark.parametrize("name", [*INTENSITY, "collimation"])
def test_each_change_changes_something_and_stays_in_range(name: str, blob: np.ndarray) -> None:
    changed = 0
    for seed in range(12):
        image, targets = vary(blob, masked(blob), seed, **{name: EVERYTHING[name]})
        assert image.dtype == np.float32 and image.shape == blob.shape
        assert image.min() >= 0 and image.max() <= 1
        changed += np.abs(image - blob).max() > 1e-3
        if name != "collimation":
            np.testing.assert_array_equal(targets, masked(blob))
    assert changed >= 3


def test_collimation_covers_bone_in_the_mask_too(blob: np.ndarray) -> None:
    dark = bright = 0
    for seed in range(30):
        image, targets = vary(blob, masked(blob), seed, collimation=1.0)
        covered = image[..., 0] != blob[..., 0]
        assert not targets[..., 0][covered].any()
        np.testing.assert_array_equal(targets[..., 0][~covered], masked(blob)[..., 0][~covered])
        assert (targets[..., 1] == 1).all()  # weights stay: the network learns that a shutter is no bone
        assert image[32, 40, 0] == blob[32, 40, 0]  # the middle stays open
        dark += covered.any() and (image[..., 0][covered] == 0).all()
        bright += covered.any() and (image[..., 0][covered] == 1).all()
    assert dark > 3 and bright > 3


def test_padding_stays_black(blob: np.ndarray) -> None:
    content = np.zeros_like(blob)
    content[:, 20:60] = 1
    picture = blob * content
    for seed in range(10):
        image, _ = vary(picture, None, seed, content, **INTENSITY)
        assert (image[content == 0] == 0).all() and image.max() > 0
        image, targets = vary(
            picture, content, seed, content, **EVERYTHING
        )  # content as the only target: it is the mask
        assert (image[..., 0] > 0).sum() > 100
        moved, targets = vary(np.ones_like(blob), np.ones_like(masked(blob)), seed, **GEOMETRY)
        assert (moved[targets[..., 1:] == 0] == 0).all()


def test_blur_is_the_gaussian_of_opencv(blob: np.ndarray) -> None:
    import cv2

    from kerasortho.data.augmentation_intensity import blur

    noisy = np.random.default_rng(0).random((40, 50, 1), dtype=np.float32)
    for sigma in (0.5, 1.3, 2.0):
        expected = cv2.GaussianBlur(noisy[..., 0], (13, 13), sigma, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(blur(tf.constant(noisy), tf.constant(sigma), 2.0)[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(blur(tf.constant(noisy), tf.constant(0.0), 2.0), noisy, atol=1e-6)


def test_tone_curve_rises_from_black_to_white() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16, 1)
    for seed in range(10):
        curve = vary(ramp, None, seed, tone_curve=1.0, gamma=0.5)[0].ravel()
        assert (np.diff(curve) >= 0).all()
        assert curve[0] == pytest.approx(0, abs=1e-3) and curve[-1] == pytest.approx(1, abs=1e-3)


def test_one_change_more_leaves_the_others_as_they_were(blob: np.ndarray) -> None:
    np.testing.assert_array_equal(
        vary(blob, masked(blob), 5, rotation=20.0)[1], vary(blob, masked(blob), 5, rotation=20.0, noise=0.1)[1]
    )


def test_runs_in_a_parallel_pipeline_with_known_shapes(blob: np.ndarray) -> None:
    spec = Augmentation(**EVERYTHING)
    seeds = tf.constant([[i, 0] for i in range(8)], tf.int32)
    data = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: augment(tf.constant(blob), tf.constant(masked(blob)), seed, spec), num_parallel_calls=2
    )
    assert [tuple(part.shape) for part in data.element_spec] == [blob.shape, (*blob.shape[:2], 2)]
    assert len({image.numpy().tobytes() for image, _ in data}) == 8


@pytest.mark.parametrize(
    ("field", "value"),
    [("rotation", -1), ("rotation", 200), ("noise", "much"), ("invert", 1.5), ("horizontal_flip", 1), ("gamma", True)],
)
def test_unusable_amounts_name_the_field(field: str, value: object) -> None:
    with pytest.raises(KerasOrthoError, match=rf"augmentation\.{field}.*Received: "):
        Augmentation(**{field: value})


@pytest.mark.parametrize("scale", [(1.2, 0.8), (0, 1), (1,), 1.1, ("a", "b")])
def test_unusable_scales_are_refused(scale: object) -> None:
    with pytest.raises(KerasOrthoError, match=r"augmentation\.scale"):
        Augmentation(scale=scale)


def test_every_field_is_tested_here() -> None:
    assert {field.name for field in fields(Augmentation)} == set(EVERYTHING)
