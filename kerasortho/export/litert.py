"""From an exported SavedModel to LiteRT (.tflite) in float32, and what every LiteRT file of ours must keep to.

A file takes ``image`` (1, h, w, 1) float32 in [0, 1], preprocessed, in the signature ``tensor``, and gives
``probabilities`` (1, C) or ``probability`` (1, h, w, 1) float32, as the SavedModel's signature of that name does. It
uses LiteRT's built-in operations only, so that it runs wherever LiteRT runs.
"""

from __future__ import annotations

import tempfile

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from kerasortho.edge.run import EdgeError, Network
from kerasortho.errors import KerasOrthoError
from kerasortho.export.saved_model import SavedModel
from kerasortho.export.signatures import TENSOR_SIGNATURE
from kerasortho.quiet import stderr_held_back


def to_litert(source: SavedModel) -> bytes:
    """Return ``source`` as a LiteRT file in float32. Raises KerasOrthoError if LiteRT lacks an operation of it.

    For one image at a time: with fixed shapes no operation computes a shape, and the whole graph can be delegated.
    """
    holder = tf.Module()
    holder.loaded = source.loaded  # tracked, so that its variables are saved
    with tempfile.TemporaryDirectory(prefix="kerasortho-") as folder, stderr_held_back():
        tf.saved_model.save(holder, folder, signatures={TENSOR_SIGNATURE: source.function(1)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[TENSOR_SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            model = bytes(converter.convert())
        except Exception as error:
            if type(error).__name__ != "ConverterError":  # which has no public name
                raise
            reason = next((line for line in str(error).splitlines() if line.strip()), "unknown")
            raise KerasOrthoError(f"LiteRT lacks an operation of this model: {reason}") from None
    check_litert(model)
    return model


def check_litert(model: bytes) -> None:
    """Raise KerasOrthoError unless ``model`` keeps to what is said at the top of this module."""
    root = schema.Model.GetRootAsModel(model, 0)
    custom = [
        code.CustomCode().decode()
        for code in map(root.OperatorCodes, range(root.OperatorCodesLength()))
        if code.BuiltinCode() == schema.BuiltinOperator.CUSTOM or code.CustomCode()  # "Flex..." are custom, too
    ]
    if custom:
        raise KerasOrthoError(f"The converted model needs operations that LiteRT does not have: {', '.join(custom)}.")
    try:
        open_network(model)
    except EdgeError as error:
        raise KerasOrthoError(str(error)) from None


def open_network(model: bytes, threads: int = 2) -> Network:
    """Return ``model`` ready to answer, without the interpreter's greetings on stderr."""
    with stderr_held_back():
        return Network(model, threads)


def answers(model: bytes, images: np.ndarray) -> np.ndarray:
    """Return the answers of a LiteRT ``model`` to ``images`` (n, h, w) float32 in [0, 1], as `SavedModel.answers`."""
    network = open_network(model)
    return np.stack([network(image) for image in images])
