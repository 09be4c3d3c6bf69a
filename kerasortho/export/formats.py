"""The formats that an exported model can be converted to, and how each is made."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kerasortho.errors import KerasOrthoError, did_you_mean

if TYPE_CHECKING:
    from kerasortho.export.format_check import Network
    from kerasortho.export.quantise import Layer, Quantiser
    from kerasortho.export.saved_model import SavedModel
    from kerasortho.radiograph.preprocessing import Letterbox

LITERT_PACKAGES = ("ai_edge_litert", "litert_quantizer")
ONNX_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


class Converter:
    """One exported model on its way into several formats; what several of them need is made once."""

    def __init__(self, source: SavedModel, images: np.ndarray, boxes: Sequence[Letterbox]) -> None:
        """Take the model, and ``images`` (n, h, w) float32 (content in ``boxes``) to find ranges and layers with."""
        self.source, self._images, self._boxes = source, images, boxes

    @cached_property
    def litert(self) -> bytes:
        """The model as LiteRT in float32."""
        from kerasortho.export.litert import to_litert

        return to_litert(self.source)

    @cached_property
    def quantiser(self) -> Quantiser:
        """What makes it smaller."""
        from kerasortho.export.quantise import Quantiser

        return Quantiser(self.litert, self._images, self._boxes)

    def onnx(self) -> bytes:
        """Return the model as ONNX in float32."""
        from kerasortho.export.onnx_model import to_onnx

        return to_onnx(self.source)


@dataclass(frozen=True)
class Format:
    """A format: ``make`` takes the layers to leave in float32 as well.

    tolerance: how far a probability may be from the SavedModel's; formats without one change probabilities by design.
    agreement: the share of equal labels, or the masks' Dice, that a reduced format should reach on the calibration
        images; layers stay in float32 until it does.
    """

    suffix: str
    about: str
    make: Callable[[Converter, Sequence[Layer]], bytes]
    reduced: bool = False
    calibrated: bool = False
    tolerance: float = math.inf
    agreement: float = 0.0


FORMATS = {
    "fp32": Format(".tflite", "LiteRT, float32: the SavedModel's answers", lambda c, keep: c.litert, tolerance=1e-4),
    "fp16": Format(
        ".tflite", "weights in 16-bit floats: half the size, or somewhat more", lambda c, keep: c.quantiser.fp16(keep),
        reduced=True, tolerance=2e-3,
    ),
    "dynamic-int8": Format(
        ".tflite", "int8 weights, activations quantised on the way: a quarter of the size, no calibration",
        lambda c, keep: c.quantiser.dynamic_int8(keep), reduced=True, agreement=0.99,
    ),
    "int8": Format(
        ".tflite", "int8 weights and activations, calibrated on training images: a quarter of the size, fastest",
        lambda c, keep: c.quantiser.int8(keep), reduced=True, calibrated=True, agreement=0.99,
    ),
    "onnx": Format(".onnx", "ONNX, float32, for ONNX Runtime", lambda c, keep: c.onnx(), tolerance=1e-4),
}  # fmt: skip
DEFAULT_FORMATS = ("fp32", "fp16", "dynamic-int8", "int8")
MAX_DROP = 0.005  # of accuracy or mean Dice: what a converted model may lose


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return ``names`` without repeats. Raises KerasOrthoError for an unknown one, or if its packages are missing."""
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in FORMATS:
            raise KerasOrthoError(
                f"There is no format {name!r}; --formats takes {', '.join(FORMATS)}, separated by commas."
                f"{did_you_mean(name, FORMATS)}"
            )
    if not chosen:
        raise KerasOrthoError(f"--formats names no format. Choose from {', '.join(FORMATS)}.")
    if set(chosen) - {"onnx"}:
        require_packages("convert", *LITERT_PACKAGES)
    if "onnx" in chosen:
        require_packages("onnx", *ONNX_PACKAGES)
    return chosen


def require_packages(extra: str, *names: str) -> None:
    """Raise KerasOrthoError that names the ``extra`` to install unless all packages are there."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise KerasOrthoError(
            f"Converting needs {', '.join(missing)}, not installed here: pip install 'kerasortho[{extra}]'."
        )


def open_model(name: str, content: bytes, threads: int) -> Network:
    """Return a model of format ``name``, ready to answer for one image (h, w) float32 with so many threads."""
    if FORMATS[name].suffix == ".onnx":
        from kerasortho.export.onnx_model import OnnxNetwork

        return OnnxNetwork(content, threads)
    from kerasortho.export.litert import open_network

    return open_network(content, threads)
