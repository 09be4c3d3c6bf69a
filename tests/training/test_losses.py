"""The losses against formulas written out in numpy and against scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from kerasortho.errors import KerasOrthoError
from kerasortho.training.losses import SEGMENTATION_LOSSES, classification_loss, loss_options, segmentation_loss


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    """Truth ``(3, 8, 9, 2)`` with weights 0 to 2 and predictions ``(3, 8, 9, 1)``."""
    random = np.random.default_rng(0)
    mask = random.integers(0, 2, (3, 8, 9))
    weight = random.choice([0.0, 0.5, 1.0, 2.0], mask.shape)
    truth = np.stack([mask, weight], axis=-1).astype(np.float32)
    return truth, random.uniform(0.05, 0.95, (3, 8, 9, 1)).astype(np.float32)


def value(name: str, truth: np.ndarray, prediction: np.ndarray, **options: float) -> float:
    return float(segmentation_loss(name, **options)(truth, prediction))


def test_bce_is_scikit_learns_log_loss(batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    y, p = truth[..., 0].ravel(), prediction.ravel()
    truth[..., 1] = 1
    assert value("bce", truth, prediction) == pytest.approx(log_loss(y, p), rel=1e-5)
    counted = np.random.default_rng(1).integers(0, 2, y.shape).astype(bool)
    truth[..., 1] = counted.reshape(truth.shape[:-1])
    assert value("bce", truth, prediction) == pytest.approx(log_loss(y[counted], p[counted]), rel=1e-5)


@pytest.mark.parametrize("pos_weight", [1.0, 3.5])
def test_bce_is_the_papers_equation(pos_weight: float, batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    total, counted = 0.0, 0
    for y, w, p in zip(truth[..., 0].ravel(), truth[..., 1].ravel(), prediction.ravel(), strict=True):
        w_n = w * (pos_weight if y == 1 else 1)
        total += -w_n * (y * np.log(p) + (1 - y) * np.log(1 - p))
        counted += w > 0
    assert value("bce", truth, prediction, pos_weight=pos_weight) == pytest.approx(total / counted, rel=1e-5)


def test_softmax_cross_entropy_of_two_channels_is_bce_of_the_foreground(batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    channels = np.concatenate([1 - prediction, prediction], axis=-1)
    expected = value("bce", truth, prediction, pos_weight=2.0)
    assert value("softmax_ce", truth, channels, pos_weight=2.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("per_image", [False, True])
def test_dice_is_one_minus_the_coefficient(per_image: bool, batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    axes = (1, 2) if per_image else (0, 1, 2)
    y, w, p = truth[..., 0], truth[..., 1], prediction[..., 0]
    coefficient = (2 * (w * p * y).sum(axes) + 1) / ((w * p).sum(axes) + (w * y).sum(axes) + 1)
    assert value("dice", truth, prediction, per_image=per_image) == pytest.approx(1 - coefficient.mean(), rel=1e-5)


def test_tversky_and_focal_are_their_papers_formulas(batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    y, w, p = truth[..., 0], truth[..., 1], prediction[..., 0]
    hit, alarm, miss = (w * p * y).sum(), (w * p * (1 - y)).sum(), (w * (1 - p) * y).sum()
    assert value("tversky", truth, prediction) == pytest.approx(1 - (hit + 1) / (hit + 0.3 * alarm + 0.7 * miss + 1))
    p_t, alpha_t = np.where(y == 1, p, 1 - p), np.where(y == 1, 0.25, 0.75)
    focal = (w * -alpha_t * (1 - p_t) ** 2 * np.log(p_t)).sum() / (w > 0).sum()
    assert value("focal", truth, prediction) == pytest.approx(focal, rel=1e-5)


def test_focal_without_focus_is_bce(batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    assert 2 * value("focal", truth, prediction, gamma=0, alpha=0.5) == pytest.approx(value("bce", truth, prediction))


def test_bce_dice_is_the_mixture(batch: tuple[np.ndarray, np.ndarray]) -> None:
    mixed = value("bce_dice", *batch, dice_share=0.25, pos_weight=2.0)
    assert mixed == pytest.approx(0.75 * value("bce", *batch, pos_weight=2.0) + 0.25 * value("dice", *batch), rel=1e-5)


def predictions_for(name: str, prediction: np.ndarray) -> np.ndarray:
    return np.concatenate([1 - prediction, prediction], axis=-1) if name == "softmax_ce" else prediction


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_ignored_pixels_change_nothing(name: str, batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    before = value(name, truth, predictions_for(name, prediction))
    ignored = truth[..., 1] == 0
    prediction[ignored] = 0.999
    truth[ignored, 0] = 1 - truth[ignored, 0]
    assert value(name, truth, predictions_for(name, prediction)) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_nothing_counted_costs_nothing(name: str, batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = batch
    truth[..., 1] = 0
    assert value(name, truth, predictions_for(name, prediction)) == 0


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_wholly_wrong_and_certain_answers_stay_finite(name: str, dtype: tf.DType) -> None:
    truth = np.ones((1, 4, 4, 2), np.float32)
    truth[:, 2:, :, 0] = 0
    prediction = tf.Variable(tf.cast(predictions_for(name, 1 - truth[..., :1]), dtype))
    with tf.GradientTape() as tape:
        loss = segmentation_loss(name)(truth, prediction)
    assert loss.dtype == tf.float32 and np.isfinite(loss) and loss > 0
    assert np.isfinite(tf.cast(tape.gradient(loss, prediction), tf.float32)).all()


@pytest.mark.parametrize("name", ["bce", "softmax_ce"])
def test_a_certain_miss_keeps_its_gradient(name: str) -> None:
    truth = np.ones((1, 1, 1, 2), np.float32)
    logits = tf.Variable([[[[30.0, -30.0] if name == "softmax_ce" else [-60.0]]]])
    with tf.GradientTape() as tape:
        prediction = tf.nn.softmax(logits) if name == "softmax_ce" else tf.sigmoid(logits)
        loss = segmentation_loss(name)(truth, prediction)
    assert float(loss) == pytest.approx(60, rel=1e-4)
    assert float(tape.gradient(loss, logits)[0, 0, 0, -1]) == pytest.approx(-1, rel=1e-4)


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_better_answers_cost_less(name: str) -> None:
    truth = np.ones((1, 4, 4, 2), np.float32)
    truth[:, 2:, :, 0] = 0
    losses = [
        value(name, truth, predictions_for(name, np.where(truth[..., :1] == 1, p, 1 - p).astype(np.float32)))
        for p in (0.1, 0.5, 0.9, 0.99)
    ]
    assert losses == sorted(losses, reverse=True)


def test_loss_is_shared_among_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas' gradients are summed, so each replica's loss must be divided by their number."""
    truth, prediction = np.ones((2, 2, 2, 2), np.float32), np.full((2, 2, 2, 1), 0.5, np.float32)
    loss = segmentation_loss("bce")
    alone = float(loss(truth, prediction))
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: SimpleNamespace(num_replicas_in_sync=4))
    assert float(loss(truth, prediction)) == pytest.approx(alone / 4)


def test_mistyped_names_and_options_get_a_suggestion() -> None:
    with pytest.raises(KerasOrthoError, match='Did you mean "tversky"'):
        segmentation_loss("tverski")
    with pytest.raises(KerasOrthoError, match='Did you mean "pos_weight"'):
        segmentation_loss("bce", pos_weigth=2)
    with pytest.raises(KerasOrthoError, match=r"training\.loss_options\.pos_weight.*a number"):
        segmentation_loss("bce", pos_weight="heavy")
    with pytest.raises(KerasOrthoError, match="at least 0"):
        segmentation_loss("bce", pos_weight=-1)
    with pytest.raises(KerasOrthoError, match="activation: softmax"):
        segmentation_loss("softmax_ce")(np.ones((1, 2, 2, 2)), np.ones((1, 2, 2, 1)))
    with pytest.raises(KerasOrthoError, match="two channels"):
        segmentation_loss("bce")(np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 1)))
    assert loss_options("focal") == {"gamma": 2.0, "alpha": 0.25, "pos_weight": 1.0}


def test_classification_loss_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    prediction = random.dirichlet([1, 1, 1], 20).astype(np.float32)
    labels = random.integers(0, 3, 20)
    truth = np.eye(3, dtype=np.float32)[labels]
    assert float(classification_loss()(truth, prediction)) == pytest.approx(log_loss(labels, prediction), rel=1e-5)
    weights = np.array([0.5, 1.0, 2.0])
    weighted = float(classification_loss(class_weights=weights)(truth, prediction))
    per_image = -np.log(prediction[np.arange(20), labels])
    assert weighted == pytest.approx((weights[labels] * per_image).mean(), rel=1e-5)
    confident = np.array([[1.0, 1e-20]], np.float32)
    assert float(classification_loss()(np.array([[0, 1]]), confident)) == pytest.approx(-np.log(1e-20), rel=1e-5)
    smooth = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)(truth, prediction)
    assert float(classification_loss(label_smoothing=0.1)(truth, prediction)) == pytest.approx(float(smooth), rel=1e-5)


def test_classification_loss_refuses_unusable_values() -> None:
    with pytest.raises(KerasOrthoError, match="label_smoothing"):
        classification_loss(label_smoothing=1.0)
    with pytest.raises(KerasOrthoError, match="class_weights"):
        classification_loss(class_weights=[1, -1])
    with pytest.raises(KerasOrthoError, match="3 values for 2 classes"):
        classification_loss(class_weights=[1, 1, 1])(np.eye(2), np.eye(2))
