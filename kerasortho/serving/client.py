"""Ask a server for what `kerasortho predict` computes itself: TensorFlow Serving's REST or gRPC, or `kerasortho serve`.

A file that the server can read (PNG, JPEG) is sent as it is, after it was read here: a damaged one is never sent. What
it cannot read (DICOM, TIFF, BMP) is sent as 16-bit PNG of the radiograph's pixels, checked to be theirs to half a step
of 16 bits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kerasortho.config import Task
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Prediction, ahead
from kerasortho.radiograph.radiograph import Radiograph
from kerasortho.radiograph.raster import encode_png
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.serving.connection import Connection, OverloadedError, connect

SENT_AS_THEY_ARE = ("PNG", "JPEG")
AT_ONCE = 8  # requests in flight: the server answers several together
PATIENCE_S = 120.0  # for an overloaded server to take one image
_CLASSIFIER = {"probabilities", "label", "classes", "error"}
_SEGMENTER = {"mask_png_bytes", "probability_png_bytes", "threshold", "error"}
_STEP = np.float32(1 / 65535)


@dataclass(frozen=True, eq=False)
class ServedPrediction(Prediction):
    """A prediction whose mask was drawn by the server; ``probabilities`` of a segmenter then have 8 bits."""

    served_mask: np.ndarray | None = None

    def mask(self, threshold: float) -> np.ndarray:
        """Return the server's mask, (H, W) uint8 of {0, 1}; ``threshold`` must be the server's own."""
        assert self.served_mask is not None
        return self.served_mask


class ServerPredictor:
    """A model on a server, used like `kerasortho.evaluation.inference.Predictor`.

    Example::

        model = ServerPredictor("http://localhost:8501", "bone-unet")
        for answer in kerasortho.predict(model, files, output="predictions"): ...
    """

    def __init__(self, server: str, model: str, *, patience_s: float = PATIENCE_S) -> None:
        """Ask the server what kind of model it is.

        Args:
            server: http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT.
            model: its name; NAME/versions/3 and NAME/labels/stable ask for one version.
            patience_s: how long an overloaded server is asked again for the same image.

        Raises KerasOrthoError where there is no such server or model, or the model is none that kerasortho exported.
        """
        self._use(connect(server, model), f"{model} on {server}", patience_s)

    @classmethod
    def of(cls, connection: Connection, name: str) -> ServerPredictor:
        """Return a predictor that asks ``connection``; errors call it ``name``."""
        made = cls.__new__(cls)
        made._use(connection, name, PATIENCE_S)
        return made

    def _use(self, connection: Connection, name: str, patience_s: float) -> None:
        self.task: Task
        self._connection, self._name = connection, name
        outputs = connection.outputs()
        if outputs >= _CLASSIFIER:
            self.task = "classification"
        elif outputs >= _SEGMENTER:
            self.task = "segmentation"
        else:
            raise KerasOrthoError(
                f"{self._name} is no model that `kerasortho export` wrote: it answers with "
                f"{', '.join(sorted(outputs))}."
            )
        self.classes: tuple[str, ...] = ()  # known from the first answer on
        self.threshold = 0.5  # likewise
        self._patience_s = patience_s

    def __str__(self) -> str:
        """Return what errors call it."""
        return self._name

    def predict(self, files: Sequence[Path]) -> Iterator[Prediction | KerasOrthoError]:
        """Yield, in the order of ``files``, a Prediction each, or the error that explains why a file has none."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for result in ahead(pool, self._ask, files, AT_ONCE):
                if not isinstance(result, KerasOrthoError):
                    prediction, answer = result
                    if self.task == "classification":
                        self.classes = tuple(answer["classes"])
                    else:
                        self.threshold = float(np.float32(answer["threshold"]))
                    yield prediction
                else:
                    yield result

    def _ask(self, file: Path) -> tuple[Prediction, Mapping[str, Any]] | KerasOrthoError:
        try:
            radiograph = read_radiograph(file)
            data = encoded(file, radiograph)
            answer = self._answer(data)
            if answer["error"]:
                raise KerasOrthoError(f"{file}: the server says: {answer['error']}")
            return self._prediction(file, radiograph, answer), answer
        except KerasOrthoError as error:
            return error if str(error).startswith(f"{file}: ") else KerasOrthoError(f"{file}: {error}")
        except Exception as error:  # one odd file, or answer, must not take the other files along
            return KerasOrthoError(f"{file}: it could not be asked about ({type(error).__name__}: {error}).")

    def _answer(self, data: bytes) -> Mapping[str, Any]:
        """Ask until the server has room, at growing intervals, each a little different so that clients spread."""
        end, wait = time.monotonic() + self._patience_s, 0.1
        while True:
            try:
                return self._connection.ask(data)
            except OverloadedError as error:
                if time.monotonic() + wait > end:
                    raise KerasOrthoError(f"the server stayed overloaded for {self._patience_s:g} s: {error}") from None
            time.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(2 * wait, 5.0)

    def _prediction(self, file: Path, radiograph: Radiograph, answer: Mapping[str, Any]) -> Prediction:
        shape = (int(radiograph.pixels.shape[0]), int(radiograph.pixels.shape[1]))
        known = (file, shape, radiograph.spacing_mm, radiograph.warnings)
        if self.task == "classification":
            return Prediction(*known, np.asarray(answer["probabilities"], np.float32), None)
        mask, levels = (_decoded(answer[key], shape) for key in ("mask_png_bytes", "probability_png_bytes"))
        return ServedPrediction(*known, levels / np.float32(255), radiograph, served_mask=(mask > 0).astype(np.uint8))


def encoded(file: Path, radiograph: Radiograph) -> bytes:
    """Return the bytes to send for ``file``, which was read as ``radiograph``."""
    if radiograph.tags.get("format") in SENT_AS_THEY_ARE:
        return file.read_bytes()
    levels = np.rint(radiograph.pixels / _STEP).astype(np.uint16)
    data = encode_png(levels)
    back = _decoded(data, levels.shape)
    if not np.abs(back * _STEP - radiograph.pixels).max() <= 0.51 * _STEP:
        raise KerasOrthoError("it could not be written as a 16-bit PNG without loss. Please report this file's kind.")
    return data


def _decoded(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None or image.shape != shape:
        raise KerasOrthoError("the server's answer is no PNG of the image's size. Is a proxy in between?")
    return np.asarray(image)
