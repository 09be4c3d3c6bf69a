"""One version of a model, loaded: its signatures, what they take, and how they are run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.types_pb2 import DataType
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import prediction_log_pb2

from kerasortho.errors import KerasOrthoError
from kerasortho.export.card import read_card
from kerasortho.export.warmup import FILE as WARMUP
from kerasortho.serving.refusal import Refusal, invalid

Tensors = dict[str, np.ndarray]  # strings are arrays of objects (bytes): numpy's own cut trailing zeros off
DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


class Signature:
    """A function of a model with named inputs and outputs, all with the batch as first dimension."""

    def __init__(self, definition: SignatureDef, function: Any) -> None:
        self.definition = definition
        self._function = function

    def check(self, inputs: Mapping[str, tuple[int, Sequence[int]]]) -> int:
        """Return the batch size of ``inputs`` (data type and shape by name); raise Refusal for what does not fit.

        Looks at nothing but types and shapes, so that nothing is unpacked that will not be used.
        """
        self._check_names(set(inputs))
        for place, (name, expected) in enumerate(sorted(self.definition.inputs.items())):
            dtype, shape = inputs[name]
            if dtype != expected.dtype:
                wanted, given = (DataType.Name(kind).removeprefix("DT_").lower() for kind in (expected.dtype, dtype))
                raise invalid(f"Expects arg[{place}] to be {wanted} but {given} is provided")
            dimensions = [dimension.size for dimension in expected.tensor_shape.dim]
            fits = len(shape) == len(dimensions) and all(
                given >= 0 and wanted in (-1, given) for wanted, given in zip(dimensions, shape, strict=True)
            )
            if not fits:
                raise invalid(
                    f"Input {name!r} has shape {list(shape)}; {dimensions} is expected, where -1 is any number."
                )
        sizes = {shape[0] for _, shape in inputs.values()}
        if len(sizes) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        return sizes.pop()

    def most_values(self, batch: int) -> float:
        """Return how many values the inputs of ``batch`` rows have at most: infinitely many where a size is open."""
        if any(info.tensor_shape.unknown_rank for info in self.definition.inputs.values()):
            return math.inf
        return sum(
            batch
            * math.prod(math.inf if dimension.size < 0 else dimension.size for dimension in info.tensor_shape.dim[1:])
            for info in self.definition.inputs.values()
        )

    def _check_names(self, given: set[str]) -> None:
        wanted = set(self.definition.inputs)
        if len(given) != len(wanted):
            raise invalid(
                f"input size does not match signature: {len(given)}!={len(wanted)} "
                f"len({{{','.join(sorted(given))}}}) != len({{{','.join(sorted(wanted))}}}). "
                f"Sent extra: {{{','.join(sorted(given - wanted))}}}. "
                f"Missing but required: {{{','.join(sorted(wanted - given))}}}."
            )
        if given != wanted:
            raise invalid(
                f"input tensor alias not found in signature: {min(given - wanted)}. "
                f"Inputs expected to be in the set {{{','.join(sorted(wanted))}}}."
            )

    def run(self, inputs: Tensors) -> Tensors:
        """Compute the outputs. Raises tf.errors.OpError, as for a batch in which no image can be read."""
        tensors = {name: tf.constant(value, self.definition.inputs[name].dtype) for name, value in inputs.items()}
        outputs = self._function(**tensors)
        return {name: value.numpy() for name, value in outputs.items()}


class Servable:
    """A loaded version of a model.

    Attributes:
        name, version: by which clients ask for it.
        card: its ``model.json``.
        definitions: all signatures of the file, by name, as GetModelMetadata tells them.
        signatures: those that can be called.
    """

    def __init__(self, name: str, version: int, folder: Path) -> None:
        self.name = name
        self.version = version
        self.card = read_card(folder)
        model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        (graph,) = (g for g in model.meta_graphs if tf.saved_model.SERVING in g.meta_info_def.tags)
        self.definitions: dict[str, SignatureDef] = dict(graph.signature_def)
        self._model = tf.saved_model.load(str(folder))  # kept: it owns the variables
        self.signatures = {
            key: Signature(self.definitions[key], function) for key, function in self._model.signatures.items()
        }

    def most_values(self, batch: int) -> float:
        """Return how many values a request of ``batch`` rows has at most, whichever its signature."""
        return max((signature.most_values(batch) for signature in self.signatures.values()), default=math.inf)

    def warm_up(self, folder: Path) -> None:
        """Answer the requests that lie beside the model, as TensorFlow Serving does (its guide "SavedModel Warmup")."""
        file = folder / WARMUP
        for record in tf.data.TFRecordDataset(str(file)) if file.is_file() else ():
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            signature = self.signatures[request.model_spec.signature_name or DEFAULT_SIGNATURE]
            signature.run({name: tf.make_ndarray(value) for name, value in request.inputs.items()})


def load(name: str, version: int, folder: Path) -> Servable:
    """Load and warm up a version. Raises KerasOrthoError for one that is incomplete or damaged."""
    try:
        servable = Servable(name, version, folder)
        servable.warm_up(folder)
        return servable
    except KerasOrthoError:
        raise
    except FileNotFoundError as error:
        raise KerasOrthoError(f"{folder} is incomplete: {Path(error.filename or '').name} is missing.") from error
    except Exception as error:  # TensorFlow raises many kinds for damaged files
        reason = error.message if isinstance(error, tf.errors.OpError | Refusal) else str(error)
        raise KerasOrthoError(
            f"{folder} cannot be loaded: it is damaged or half copied ({type(error).__name__}: {reason.strip()[:200]})."
        ) from error
