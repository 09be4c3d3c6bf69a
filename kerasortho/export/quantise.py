"""A float32 LiteRT model in fewer bits, with litert-quantizer: half floats, or whole numbers of 8 bits.

Layers may be left in float32: a few of them, often the first, can carry nearly all of the error (`Quantiser.ranking`)
and next to none of the weights. Weights have a scale for each channel throughout.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import quantizer
from litert_quantizer.calibrator import Calibrator
from litert_quantizer.qtyping import TFLOperationName
from litert_quantizer.recipe_manager import RecipeManager
from litert_quantizer.utils.qsv_utils import min_max_update
from litert_quantizer.utils.tfl_flatbuffer_utils import TFL_OP_CODE_TO_NAME

from kerasortho.export.format_check import content_only
from kerasortho.export.litert import answers
from kerasortho.export.signatures import TENSOR_SIGNATURE
from kerasortho.progress import track
from kerasortho.quiet import stderr_held_back
from kerasortho.radiograph.preprocessing import Letterbox

RANKING_IMAGES = 4
SMALLEST_WEIGHT = 1e-4  # of a channel, beside its bias: see `with_usable_scales`
_ALL = TFLOperationName.ALL_SUPPORTED
_OUTER = (TFLOperationName.INPUT, TFLOperationName.OUTPUT)
_PROBABILITIES = (TFLOperationName.LOGISTIC, TFLOperationName.SOFTMAX)
# Depthwise convolutions stay float32: with dynamic ranges they are computed outside XNNPACK, several times slower than
# in float32, and hold few weights.
_DYNAMIC = (TFLOperationName.CONV_2D, TFLOperationName.CONV_2D_TRANSPOSE, TFLOperationName.FULLY_CONNECTED)
_CONVOLUTIONS = {schema.BuiltinOperator.CONV_2D: 0, schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3}  # axis of channels
_INSIDE = ("batchnorm", "resize")  # scopes within a layer
_WEIGHTED = (*_DYNAMIC, TFLOperationName.DEPTHWISE_CONV_2D)
_NO, _CAST = quantizer.AlgorithmName.NO_QUANTIZE, quantizer.AlgorithmName.FLOAT_CASTING


@dataclass(frozen=True)
class Layer:
    """An operation of a LiteRT model, by the name of its output."""

    name: str
    operation: TFLOperationName

    @property
    def label(self) -> str:
        """The layer of the Keras model, as the converter names it: without the operations inside the layer."""
        *scopes, operation = self.name.split(";")[0].split("/")
        named = [scope for scope in scopes if scope not in _INSIDE]
        return named[-1] if named else operation

    @property
    def pattern(self) -> str:
        """A regular expression for this layer alone, as litert-quantizer looks for layers."""
        return f"^{re.escape(self.name)};?$"


Ranking = list[tuple[Layer, float]]


class Quantiser:
    """Makes smaller models of one float32 LiteRT model."""

    def __init__(self, model: bytes, images: np.ndarray, boxes: Sequence[Letterbox]) -> None:
        """Take the float32 ``model``, and ``images`` (n, h, w) float32 to find the ranges of its activations with.

        boxes: where the content of each image lies; errors in the padding do not count.
        """
        self._model = model
        self._images, self._boxes = images, boxes
        self._scalable = with_usable_scales(model)

    def fp16(self, keep: Sequence[Layer] = ()) -> bytes:
        """Return the model with weights of 16-bit floats; it computes in float32, or in float16 where a GPU does."""
        recipe = RecipeManager()
        recipe.add_weight_only_config(".*", _ALL, 16, algorithm_key=_CAST)
        return self._quantised(self._model, recipe, keep)

    def dynamic_int8(self, keep: Sequence[Layer] = ()) -> bytes:
        """Return the model with int8 weights, whose activations are quantised while it computes."""
        recipe = RecipeManager()
        for operation in _DYNAMIC:
            recipe.add_dynamic_config(".*", operation, 8)
        return self._quantised(self._model, recipe, keep)

    def int8(self, keep: Sequence[Layer] = ()) -> bytes:
        """Return the model with int8 weights and activations; input, output and the probabilities stay float32."""
        recipe = RecipeManager()
        recipe.add_static_config(".*", _ALL, 8, 8)
        for operation in (*_OUTER, *_PROBABILITIES):
            recipe.add_quantization_config(".*", operation, algorithm_key=_NO)
        return self._quantised(self._scalable, recipe, keep, self.ranges)

    @cached_property
    def layers(self) -> list[Layer]:
        """The operations that can be quantised, in the order in which they are computed."""
        root = schema.Model.GetRootAsModel(self._model, 0)
        graph = root.Subgraphs(0)
        found = []
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            operation = TFL_OP_CODE_TO_NAME.get(root.OperatorCodes(operator.OpcodeIndex()).BuiltinCode())
            if operation is not None and operation not in _PROBABILITIES:
                found.append(Layer(graph.Tensors(operator.Outputs(0)).Name().decode(), operation))
        return found

    @cached_property
    def ranges(self) -> dict[str, dict[str, np.ndarray]]:
        """Smallest and largest value of every activation over the images."""
        recipe = RecipeManager()
        recipe.add_static_config(".*", _ALL, 8, 8)
        with _quietly():
            calibrator = Calibrator(self._scalable, num_threads=2, qsv_update_func=min_max_update)
        for image in track(self._images, "calibrating"):
            with _quietly():
                calibrator.calibrate({TENSOR_SIGNATURE: [{"image": image[None, ..., None]}]}, recipe)
        ranges: dict[str, dict[str, np.ndarray]] = calibrator.get_model_qsvs()
        return ranges

    @cached_property
    def ranking(self) -> Ranking:
        """The layers, worst first, with the mean change of the probabilities when that layer alone is int8."""

        def quantise(layer: Layer) -> bytes:
            recipe = RecipeManager()
            recipe.add_static_config(layer.pattern, layer.operation, 8, 8)
            return self._quantised(self._scalable, recipe, (), self.ranges)

        return self._ranked(self.layers, quantise)

    @cached_property
    def ranking_fp16(self) -> Ranking:
        """The same of the layers with weights, when those of that layer alone are rounded to 16-bit floats.

        Other layers suffer then than from int8, which rounds activations, too.
        """

        def cast(layer: Layer) -> bytes:
            recipe = RecipeManager()
            recipe.add_weight_only_config(layer.pattern, layer.operation, 16, algorithm_key=_CAST)
            return self._quantised(self._model, recipe, ())

        return self._ranked([layer for layer in self.layers if layer.operation in _WEIGHTED], cast)

    def worst(self, share: float, *, fp16: bool = False) -> list[Layer]:
        """Return the fewest layers that carry ``share`` (0 to 1) of the squared error of all: of int8, or of fp16."""
        if share == 0:
            return []
        ranking = self.ranking_fp16 if fp16 else self.ranking
        squares = np.array([error**2 for _, error in ranking])
        if not squares.sum():
            return []
        count = int(np.searchsorted(squares.cumsum() / squares.sum(), share)) + 1
        return [layer for layer, _ in ranking[:count]]

    def _ranked(self, layers: Sequence[Layer], make: Callable[[Layer], bytes]) -> Ranking:
        images, boxes = self._images[:RANKING_IMAGES], self._boxes[:RANKING_IMAGES]
        before = content_only(answers(self._model, images), boxes)
        found = []
        for layer in track(layers, "finding the layers that suffer most"):
            changed = content_only(answers(make(layer), images), boxes)
            found.append((layer, float(np.abs(changed - before).mean())))
        return sorted(found, key=lambda item: -item[1])

    def _quantised(
        self, model: bytes, recipe: RecipeManager, keep: Sequence[Layer], ranges: dict | None = None
    ) -> bytes:
        for layer in keep:
            recipe.add_quantization_config(layer.pattern, layer.operation, algorithm_key=_NO)
        with _quietly():
            worker = quantizer.Quantizer(bytearray(model))
            worker.load_quantization_recipe(recipe.get_quantization_recipe())
            done = worker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return bytes(done.quantized_model)


def with_usable_scales(model: bytes) -> bytes:
    """Return ``model`` with channels of (nearly) no weight given a weight so small that it changes nothing.

    An int8 convolution stores its bias in steps of input scale times weight scale, in 32 bits. Of a channel whose
    weights are all zero, as pruning and dequantised weights leave them, that scale is next to nothing: its bias, all
    that it gives, would overflow and be lost.
    """
    changed = bytearray(model)
    root = schema.Model.GetRootAsModel(changed, 0)
    graph = root.Subgraphs(0)
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        axis = _CONVOLUTIONS.get(root.OperatorCodes(operator.OpcodeIndex()).BuiltinCode())
        if axis is None or operator.InputsLength() < 3 or operator.Inputs(2) < 0:
            continue
        weights, bias = (_constant(root, graph.Tensors(operator.Inputs(place))) for place in (1, 2))
        if weights is None or bias is None:
            continue
        by_channel = np.moveaxis(weights, axis, 0).reshape(len(bias), -1)  # a copy where channels come last
        floor = SMALLEST_WEIGHT * np.abs(bias)
        for channel in np.flatnonzero(np.abs(by_channel).max(axis=1) < floor):
            place = [0] * weights.ndim
            place[axis] = int(channel)
            weights[tuple(place)] = floor[channel]
    return bytes(changed)


def _constant(root: schema.Model, tensor: schema.Tensor) -> np.ndarray | None:
    """Return a float32 constant as a view into the model's bytes; None for what is computed, or of another type."""
    data = root.Buffers(tensor.Buffer())
    if tensor.Type() != schema.TensorType.FLOAT32 or not data.DataLength():
        return None
    return data.DataAsNumpy().view(np.float32).reshape(tensor.ShapeAsNumpy())


@contextmanager
def _quietly() -> Iterator[None]:
    """Hold back progress bars and warnings of litert-quantizer; they are shown if it fails."""
    with stderr_held_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
