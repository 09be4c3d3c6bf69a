"""Which BatchNorm layers of a base learn: those that nobody trained before.

A pretrained base keeps its BatchNorm frozen, statistics and scales: small batches would spoil them. But a weights file
need not be complete (a random last stage), and there need not be one at all. Such layers hold mean 0 and variance 1,
which nobody measured; frozen like that, what is trained around them hardly learns.
"""

from __future__ import annotations

import keras
import numpy as np

from kerasortho.models.blocks import first_index

AUTO = "auto"
MOMENTUM = 0.9  # not Keras's 0.99: with the few batches of a small dataset the statistics would lag epochs behind


def mark_learning_batchnorm(base: keras.Model, from_layer: str | None) -> None:
    """Settle from which layer on the BatchNorm of ``base`` learns where the layers around it are trained.

    Args:
        base: the backbone, with its weights. Its attribute ``learn_batchnorm_from`` keeps the answer: a layer's name or
            None.
        from_layer: the first that learns; None: none does; "auto": the first whose statistics are those of its
            creation, mean 0 and variance 1.

    Raises:
        KerasOrthoError: if no layer is so named (with a did-you-mean).
    """
    found = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if from_layer == AUTO:
        from_layer = next((layer.name for layer in found if _is_untrained(layer)), None)
    base.learn_batchnorm_from = from_layer
    for layer in learning_batchnorm(base):
        layer.momentum = MOMENTUM


def learning_batchnorm(base: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNorm layers of ``base`` that learn, in their order."""
    first = first_index(base, getattr(base, "learn_batchnorm_from", None))
    return [layer for layer in base.layers[first:] if isinstance(layer, keras.layers.BatchNormalization)]


def _is_untrained(layer: keras.layers.BatchNormalization) -> bool:
    return not np.any(layer.moving_mean) and bool(np.all(np.equal(layer.moving_variance, 1)))
