"""Which BatchNorm layers of a base learn: those that nobody trained before.

A pretrained base keeps its BatchNorm frozen, statistics and scales: small batches would spoil them. But a weights file
need not be complete (a random last stage), and there need not be one at all. Such layers hold mean 0 and variance 1,
which nobody measured; frozen like that, what is trained around them hardly learns. Where such a layer ends a residual
branch, its scale starts at 0, so that the network begins as one of its shortcuts and learns sooner (Goyal et al. 2017,
"Accurate, large minibatch SGD", section 5.1).
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
    ends = _branch_ends(base)
    for layer in learning_batchnorm(base):
        layer.momentum = MOMENTUM
        if layer.name in ends and layer.gamma is not None and _is_untrained(layer):
            layer.gamma.assign(np.zeros(layer.gamma.shape))


def learning_batchnorm(base: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNorm layers of ``base`` that learn, in their order."""
    first = first_index(base, getattr(base, "learn_batchnorm_from", None))
    return [layer for layer in base.layers[first:] if isinstance(layer, keras.layers.BatchNormalization)]


def _is_untrained(layer: keras.layers.BatchNormalization) -> bool:
    return not np.any(layer.moving_mean) and bool(np.all(np.equal(layer.moving_variance, 1)))


def _branch_ends(base: keras.Model) -> set[str]:
    """Return the BatchNorm layers that end a residual branch: of those that an addition alone reads, its last input.

    The one before it, where there are two, ends the shortcut (ResNet's projection); one that others read as well is no
    end (EfficientNet's shortcut from the block before).
    """
    readers: dict[str, set[str]] = {}
    inputs = {layer.name: _inputs(layer) for layer in base.layers}
    for reader, sources in inputs.items():
        for source in sources:
            readers.setdefault(source, set()).add(reader)
    ends = set()
    for layer in base.layers:
        if isinstance(layer, keras.layers.Add):
            alone = [name for name in inputs[layer.name] if readers[name] == {layer.name}]
            norms = [n for n in alone if isinstance(base.get_layer(n), keras.layers.BatchNormalization)]
            ends.update(norms[-1:])
    return ends


def _inputs(layer: keras.Layer) -> list[str]:
    """Return the names of the layers that ``layer`` reads, in their order."""
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return [tensor._keras_history.operation.name for tensor in keras.tree.flatten(layer.input)]
