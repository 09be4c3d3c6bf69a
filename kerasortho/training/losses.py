"""The losses. Segmentation: `segmentation_loss`; recognition: `classification_loss`.

Segmentation truth is ``(B, H, W, 2)`` float32: channel 0 the mask {0, 1}, channel 1 the weight w_n >= 0 of each pixel,
0 for pixels that do not count. Predictions are probabilities, ``(B, H, W, 1)`` (sigmoid) or ``(B, H, W, 2)`` (softmax
over background and foreground); the last channel is the foreground. Everything is computed in float32, whatever the
precision policy, and a batch without one counted pixel costs 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_type_hints

import keras
from keras import ops

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.schema import convert

# Logarithms are taken of no less than these. A probability keeps its gradient down to the first; 1 - p, which float32
# rounds to steps of 6e-8, needs the second, and a certain false alarm (logit above 16.6) has no gradient left.
SMALLEST = 1e-30
SMALLEST_COMPLEMENT = 3e-8

Pixels = Any  # a float32 tensor (B, H, W)


class WeightedLoss(keras.losses.Loss):
    """A loss that averages over a batch itself, because not every pixel or image counts alike."""

    def __init__(self, name: str, compute: Callable[[Any, Any], Any]) -> None:
        """Wrap ``compute(y_true, y_pred)``, which returns a scalar."""
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.compute = compute

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of a batch, ``(1,)`` float32: of a bare scalar Keras forgets the scaling by replicas."""
        return ops.reshape(self.compute(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")), (1,))


def segmentation_loss(name: str, **options: Any) -> keras.losses.Loss:
    """Return the segmentation loss ``name`` of `SEGMENTATION_LOSSES` with its ``options`` set.

    Raises KerasOrthoError for an unknown name or option, with a did-you-mean.
    """
    if name not in SEGMENTATION_LOSSES:
        raise KerasOrthoError(
            f'There is no segmentation loss "{name}".{did_you_mean(str(name), SEGMENTATION_LOSSES)} '
            f"Known: {', '.join(SEGMENTATION_LOSSES)}."
        )
    function = SEGMENTATION_LOSSES[name]
    known = loss_options(name)
    for option, value in options.items():
        if option not in known:
            raise KerasOrthoError(
                f'The loss "{name}" has no option "{option}".{did_you_mean(option, known)} '
                f"Its options: {', '.join(known)}."
            )
        place = f"training.loss_options.{option}"
        options[option] = convert(get_type_hints(function)[option], value, place)
        if options[option] < 0:
            raise KerasOrthoError(f'"{place}" must be at least 0. Received: {value!r}.')

    def compute(y_true: Any, y_pred: Any) -> Any:
        _check_channels(y_true, y_pred, name)
        return function(y_true[..., 0], y_true[..., 1], y_pred, **options)

    return WeightedLoss(name, compute)


def loss_options(name: str) -> dict[str, Any]:
    """Return the option names and defaults of a segmentation loss."""
    parameters = inspect.signature(SEGMENTATION_LOSSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def bce(mask: Pixels, weight: Pixels, y_pred: Any, *, pos_weight: float = 1.0) -> Any:
    """Weighted binary cross-entropy, l_n = -w_n [y_n log p_n + (1 - y_n) log(1 - p_n)].

    The equation of Zhang 2024 (doi:10.32629/jcmr.v5i2.2332). ``pos_weight`` multiplies w_n where y_n = 1. The sum over
    the batch is divided by the number of counted pixels (w_n > 0), not by the sum of weights: heavier pixels then raise
    the loss instead of only shifting its shares.
    """
    probability = y_pred[..., -1]
    likelihood = pos_weight * mask * _log(probability) + (1.0 - mask) * _log_complement(probability)
    return _mean_over_counted(-weight * likelihood, weight)


def softmax_cross_entropy(mask: Pixels, weight: Pixels, y_pred: Any, *, pos_weight: float = 1.0) -> Any:
    """Weighted two-channel softmax cross-entropy: -w_n log p_n,c of the true class c, averaged as in `bce`."""
    if y_pred.shape[-1] != 2:
        raise KerasOrthoError(
            'The loss "softmax_ce" needs a model with two output channels: set the model option activation: softmax.'
        )
    likelihood = pos_weight * mask * _log(y_pred[..., 1]) + (1.0 - mask) * _log(y_pred[..., 0])
    return _mean_over_counted(-weight * likelihood, weight)


def dice(mask: Pixels, weight: Pixels, y_pred: Any, *, per_image: bool = False, smooth: float = 1.0) -> Any:
    """One minus the soft Dice coefficient, (2 sum w p y + s) / (sum w p + sum w y + s).

    After Milletari 2016 (doi:10.1109/3DV.2016.79), without squares. ``per_image=False`` takes one coefficient over the
    batch, which is steadier where masks are small or empty; True averages those of the images, so that each counts
    alike. ``smooth`` (s, in pixels) keeps empty masks defined.
    """
    half = {"false_positives": 0.5, "false_negatives": 0.5, "smooth": smooth / 2}
    return tversky(mask, weight, y_pred, per_image=per_image, **half)


def tversky(
    mask: Pixels,
    weight: Pixels,
    y_pred: Any,
    *,
    false_positives: float = 0.3,
    false_negatives: float = 0.7,
    per_image: bool = False,
    smooth: float = 1.0,
) -> Any:
    """One minus the Tversky index, (TP + s) / (TP + a FP + b FN + s) (Salehi 2017, doi:10.1007/978-3-319-67389-9_44).

    ``false_positives`` is a, ``false_negatives`` b; b > a favours finding small lesions. a = b = 0.5 is Dice.
    """
    probability = y_pred[..., -1]
    axes = (1, 2) if per_image else (0, 1, 2)
    hit = ops.sum(weight * probability * mask, axis=axes)
    false_alarm = ops.sum(weight * probability * (1.0 - mask), axis=axes)
    miss = ops.sum(weight * (1.0 - probability) * mask, axis=axes)
    bottom = hit + false_positives * false_alarm + false_negatives * miss + smooth
    index = (hit + smooth) / ops.maximum(bottom, SMALLEST)
    counted = ops.cast(ops.any(weight > 0, axis=axes), "float32")
    return ops.sum((1.0 - index) * counted) / ops.maximum(ops.sum(counted), 1.0)


def focal(
    mask: Pixels, weight: Pixels, y_pred: Any, *, gamma: float = 2.0, alpha: float = 0.25, pos_weight: float = 1.0
) -> Any:
    """Focal loss, -w_n a_t (1 - p_t)^gamma log p_t (Lin 2017, doi:10.1109/ICCV.2017.324), averaged as in `bce`.

    ``alpha`` weighs the foreground and ``1 - alpha`` the background.
    """
    probability = y_pred[..., -1]
    foreground = pos_weight * alpha * mask * _power(1.0 - probability, gamma) * _log(probability)
    background = (1.0 - alpha) * (1.0 - mask) * _power(probability, gamma) * _log_complement(probability)
    return _mean_over_counted(-weight * (foreground + background), weight)


def bce_dice(
    mask: Pixels,
    weight: Pixels,
    y_pred: Any,
    *,
    pos_weight: float = 1.0,
    dice_share: float = 0.5,
    per_image: bool = False,
    smooth: float = 1.0,
) -> Any:
    """``(1 - dice_share)`` times `bce` plus ``dice_share`` times `dice`."""
    return (1.0 - dice_share) * bce(mask, weight, y_pred, pos_weight=pos_weight) + dice_share * dice(
        mask, weight, y_pred, per_image=per_image, smooth=smooth
    )


SEGMENTATION_LOSSES: dict[str, Callable[..., Any]] = {
    "bce": bce,
    "bce_dice": bce_dice,
    "dice": dice,
    "focal": focal,
    "tversky": tversky,
    "softmax_ce": softmax_cross_entropy,
}


def classification_loss(
    *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> keras.losses.Loss:
    """Return the cross-entropy of one-hot truth ``(B, C)`` and probabilities ``(B, C)``, averaged over the batch.

    Args:
        label_smoothing: e in [0, 1): truth becomes (1 - e) y + e / C (Szegedy 2016, doi:10.1109/CVPR.2016.308).
        class_weights: one factor a class, for the images of that class; None for equal ones.

    Raises:
        KerasOrthoError: for values out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise KerasOrthoError(f'"label_smoothing" must be from 0 to below 1. Received: {label_smoothing!r}.')
    if class_weights is not None and min(class_weights) < 0:
        raise KerasOrthoError(f'"class_weights" must not be negative. Received: {list(class_weights)}.')
    compute = partial(
        _categorical_cross_entropy,
        label_smoothing=label_smoothing,
        class_weights=None if class_weights is None else [float(w) for w in class_weights],
    )
    return WeightedLoss("cross_entropy", compute)


def _categorical_cross_entropy(
    y_true: Any, y_pred: Any, *, label_smoothing: float, class_weights: list[float] | None
) -> Any:
    classes = y_pred.shape[-1]
    smooth = (1.0 - label_smoothing) * y_true + label_smoothing / classes
    losses = -ops.sum(smooth * _log(y_pred), axis=-1)
    if class_weights is not None:
        if len(class_weights) != classes:
            raise KerasOrthoError(f'"class_weights" has {len(class_weights)} values for {classes} classes.')
        losses = losses * ops.sum(y_true * ops.convert_to_tensor(class_weights, "float32"), axis=-1)
    return ops.mean(losses)


def _log(probability: Any) -> Any:
    return ops.log(ops.maximum(probability, SMALLEST))


def _log_complement(probability: Any) -> Any:
    return ops.log(ops.maximum(1.0 - probability, SMALLEST_COMPLEMENT))


def _power(probability: Any, exponent: float) -> Any:
    """Return the power of a base away from 0, where exponents below 1 have no finite slope."""
    return ops.maximum(probability, SMALLEST_COMPLEMENT) ** exponent


def _mean_over_counted(losses: Pixels, weight: Pixels) -> Any:
    counted = ops.sum(ops.cast(weight > 0, "float32"))
    return ops.sum(losses) / ops.maximum(counted, 1.0)


def _check_channels(y_true: Any, y_pred: Any, name: str) -> None:
    if y_true.shape[-1] != 2 or y_pred.shape[-1] not in (1, 2):
        raise KerasOrthoError(
            f'The loss "{name}" takes truth of two channels (mask, weight) and predictions of one or two. '
            f"Received: {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )
