"""The blocks of a backbone by the names of their layers, such as "conv5_block1" or "block_13"."""

from __future__ import annotations

import keras

from kerasortho.errors import KerasOrthoError, did_you_mean


def first_index(base: keras.Model, from_layer: str | None) -> int:
    """Return the position in ``base.layers`` of the first layer whose name starts with ``from_layer``.

    "all" means the first of all, None none: the number of layers. Raises KerasOrthoError for another name, with a
    did-you-mean.
    """
    if from_layer is None:
        return len(base.layers)
    if from_layer == "all":
        return 0
    for index, layer in enumerate(base.layers):
        if layer.name.startswith(from_layer):
            return index
    blocks = block_names(base)
    raise KerasOrthoError(
        f'No backbone layer\'s name starts with "{from_layer}".{did_you_mean(from_layer, [*blocks, "all"])} '
        f'Blocks: {", ".join(blocks)}; or "all".'
    )


def block_names(base: keras.Model) -> list[str]:
    """Return the prefixes that name the blocks of a backbone, in order: names up to their block's number."""
    names = dict.fromkeys(_block_of(layer.name) for layer in base.layers if layer.weights)
    return list(names)


def _block_of(layer_name: str) -> str:
    parts = layer_name.split("_")
    if parts[0] == "block" and len(parts) > 1:  # MobileNetV2: block_13_expand
        return "_".join(parts[:2])
    if len(parts) > 1 and parts[1].startswith("block"):  # ResNet, DenseNet: conv5_block1_1_conv
        return "_".join(parts[:2])
    if layer_name.startswith(("Conv_1", "expanded_conv")):  # MobileNetV2's last and first
        return layer_name[:6] if layer_name.startswith("Conv_1") else "expanded_conv"
    return parts[0]
