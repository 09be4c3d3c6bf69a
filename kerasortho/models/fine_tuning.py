"""Which layers are trained: the frozen base, and the part of it that a second phase sets free."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras

from kerasortho.errors import KerasOrthoError
from kerasortho.models.backbones import BACKBONE
from kerasortho.models.batchnorm import learning_batchnorm
from kerasortho.models.blocks import first_index


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of scalar parameters; frozen ones include BatchNorm's moving statistics."""

    trained: int
    frozen: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.trained + self.frozen


def get_base(model: keras.Model) -> keras.Model | None:
    """Return the nested backbone of ``model``, or None where it has none (a plain U-Net)."""
    return next((layer for layer in model.layers if layer.name == BACKBONE), None)


def unfreeze(model: keras.Model, from_layer: str | None) -> int:
    """Train the backbone of ``model`` from ``from_layer`` on and freeze the part before it.

    BatchNorm layers stay frozen in both senses: their scales and offsets are not trained, and their statistics do not
    move; but for those that were never trained before (`kerasortho.models.batchnorm`). Compile the model afterwards: an
    optimizer keeps the variables it was built with.

    Args:
        model: a model of the registry that has a backbone.
        from_layer: every layer from the first whose name starts so is trained, such as "conv5_block1" or "block_13";
            "all" for the whole base, None to freeze all of it.

    Returns:
        The number of weight tensors of the backbone that are then trained.

    Raises:
        KerasOrthoError: if the model has no backbone, or no layer of it is so named (with a did-you-mean).
    """
    base = get_base(model)
    if base is None:
        if from_layer is None:
            return 0
        raise KerasOrthoError(f'The model "{model.name}" has no pretrained backbone: there is nothing to unfreeze.')
    first, learning = first_index(base, from_layer), set(learning_batchnorm(base))
    base.trainable = from_layer is not None  # sets every layer inside as well: their own flags come after
    for index, layer in enumerate(base.layers):
        frozen_kind = isinstance(layer, keras.layers.BatchNormalization) and layer not in learning
        layer.trainable = index >= first and not frozen_kind
    return len(base.trainable_variables)


def count_parameters(model: keras.Model) -> ParameterCount:
    """Return how many parameters of ``model`` are trained and how many are frozen."""
    trained = sum(math.prod(variable.shape) for variable in model.trainable_weights)
    return ParameterCount(trained, model.count_params() - trained)
