"""The pretrained networks of ``keras.applications`` that the models build on: one table, one way to call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.models.batchnorm import AUTO, learning_batchnorm, mark_learning_batchnorm
from kerasortho.models.weights import PublishedWeights, load_backbone_weights

BACKBONE = "backbone"  # name of the nested base in every model that has one
_STORE = "https://storage.googleapis.com/tensorflow/keras-applications/"

# What each family's `preprocess_input` does to RGB in [0, 255], written as x * scale + offset for x in [0, 1].
_TORCH_MEAN, _TORCH_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INPUT_SCALING: dict[str, tuple[list[float], list[float]]] = {
    "caffe": ([255.0] * 3, [-103.939, -116.779, -123.68]),  # blue, green, red minus ImageNet's means
    "tf": ([2.0] * 3, [-1.0] * 3),
    "torch": ([1 / s for s in _TORCH_SD], [-m / s for m, s in zip(_TORCH_MEAN, _TORCH_SD, strict=True)]),
}


@dataclass(frozen=True)
class Backbone:
    """One network: how it is called, how it wants its input, and where its features of each scale are.

    Attributes:
        application: the function's name in `keras.applications`.
        scaling: key of `INPUT_SCALING`.
        skips: layers whose outputs have stride 2, 4, 8, 16 and 32, in this order.
        weights: the ImageNet file without top.
        arguments: further keyword arguments of the function.
    """

    application: str
    scaling: str
    skips: tuple[str, str, str, str, str]
    weights: PublishedWeights
    arguments: tuple[tuple[str, Any], ...] = ()


BACKBONES: dict[str, Backbone] = {
    "resnet50": Backbone(
        "ResNet50",
        "caffe",
        ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        PublishedWeights(
            _STORE + "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"
        ),
    ),
    "resnet101": Backbone(
        "ResNet101",
        "caffe",
        ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block23_out", "conv5_block3_out"),
        PublishedWeights(
            _STORE + "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5", "88cf7a10940856eca736dc7b7e228a21"
        ),
    ),
    "mobilenetv2": Backbone(
        "MobileNetV2",
        "tf",
        ("expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu"),
        PublishedWeights(  # its publishers give no checksum
            _STORE + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None
        ),
    ),
    "densenet121": Backbone(
        "DenseNet121",
        "torch",
        ("conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu"),
        PublishedWeights(
            _STORE + "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "30ee3e1110167f948a6b9946edeeb738",
        ),
    ),
    "efficientnetv2b0": Backbone(  # the first EfficientNets change their layers with the `weights` argument
        "EfficientNetV2B0",
        "torch",
        (
            "block1a_project_activation",
            "block2b_add",
            "block4a_expand_activation",
            "block6a_expand_activation",
            "top_activation",
        ),
        PublishedWeights(_STORE + "efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
        arguments=(("include_preprocessing", False),),
    ),
}


def get_backbone(name: str) -> Backbone:
    """Return the table entry of ``name``. Raises KerasOrthoError with a did-you-mean for an unknown name."""
    if name not in BACKBONES:
        hint = did_you_mean(name, BACKBONES)
        raise KerasOrthoError(f'There is no backbone "{name}".{hint} Known: {", ".join(BACKBONES)}.')
    return BACKBONES[name]


def build_backbone(
    name: str,
    input_size: tuple[int, int],
    *,
    weights: str | None = "imagenet",
    learn_batchnorm_from: str | None = AUTO,
    outputs: tuple[str, ...] = (),
) -> keras.Model:
    """Return the frozen base network as a model named "backbone", ready to be nested in another.

    Args:
        name: key of `BACKBONES`.
        input_size: height and width of the input, in pixels.
        weights: "imagenet" (fetched once, then read from the cache), a path to a weights file of the same network with
            ``include_top=False`` (``.h5`` or ``.weights.h5``), or None for random values.
        learn_batchnorm_from: see `kerasortho.models.batchnorm.mark_learning_batchnorm`.
        outputs: layers whose outputs the model returns as a list; none: the last one alone.

    Returns:
        A model from scaled ``(B, H, W, 3)`` to features, with ``trainable=False``. Call it with `call_backbone`.

    Raises:
        KerasOrthoError: for an unknown name, a file that is missing, damaged or made for another network, or a
            failed download.
    """
    entry = get_backbone(name)
    application = getattr(keras.applications, entry.application)
    network = application(include_top=False, weights=None, input_shape=(*input_size, 3), **dict(entry.arguments))
    load_backbone_weights(network, name, weights, entry.weights)
    features: Any = [network.get_layer(layer).output for layer in outputs] or network.output
    backbone = keras.Model(network.input, features, name=BACKBONE)
    backbone.trainable = False
    mark_learning_batchnorm(backbone, learn_batchnorm_from)
    return backbone


def call_backbone(backbone: keras.Model, image: Any, name: str) -> Any:
    """Return the features of the grey ``image`` ``(B, H, W, 1)`` in [0, 1].

    The base runs in inference mode for good, whatever of it is trained; unless it has BatchNorm layers that learn.
    """
    training = None if learning_batchnorm(backbone) else False
    return backbone(scale_grey_input(image, name), training=training)


def scale_grey_input(image: Any, name: str) -> Any:
    """Return grey ``(B, H, W, 1)`` in [0, 1] as the three scaled channels that backbone ``name`` was trained on.

    Equals the network's ``keras.applications`` ``preprocess_input`` of the grey image as RGB in [0, 255]. Computed in
    float32 whatever the precision policy: bfloat16 would round the grey levels.
    """
    scale, offset = INPUT_SCALING[get_backbone(name).scaling]
    channels = keras.layers.Concatenate(name="grey_to_channels", dtype="float32")([image, image, image])
    return keras.layers.Rescaling(scale, offset, name="input_scaling", dtype="float32")(channels)
