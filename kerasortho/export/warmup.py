"""Warm-up requests for TensorFlow Serving: a model that has answered once answers its first client as fast as others.

TensorFlow Serving replays the records of ``assets.extra/tf_serving_warmup_requests`` after loading a version and before
it takes requests (its guide "SavedModel Warmup").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from kerasortho.export.signatures import DEFAULT_SIGNATURE, IMAGE_BYTES, TENSOR_SIGNATURE
from kerasortho.radiograph.raster import encode_png

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_SHAPE = (640, 480)  # of the image sent, if that many pixels are accepted; the kinds of operation matter, not the size


def write_warmup(folder: Path, image: bytes, *, name: str, size: tuple[int, int], max_batch: int) -> None:
    """Write requests for the SavedModel in ``folder``: every signature, with one ``image`` and with ``max_batch``."""
    file = folder / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in _requests(image, name, size, max_batch):
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def warmup_image(max_pixels: int) -> bytes:
    """Return a PNG file of a drawn shaft, of at most ``max_pixels`` pixels: nobody's radiograph."""
    shrink = min(1.0, math.sqrt(max_pixels / math.prod(_SHAPE)))
    height, width = (max(1, int(shrink * side)) for side in _SHAPE)
    rows, columns = np.mgrid[:height, :width]
    distance = np.abs(columns - width / 2 - 0.1 * (rows - height / 2)) / width
    soft, bone = np.exp(-((distance / 0.25) ** 2)), np.exp(-(((distance - 0.05) / 0.03) ** 2))
    return encode_png(np.rint(255 * np.clip(0.5 * soft + 0.45 * bone, 0, 1)).astype(np.uint8))


def _requests(image: bytes, name: str, size: tuple[int, int], max_batch: int) -> Iterator[predict_pb2.PredictRequest]:
    for batch in sorted({1, max_batch}):
        zeros = tf.make_tensor_proto(0.0, shape=(batch, *size, 1))  # one value for all: a few bytes
        yield _request(name, DEFAULT_SIGNATURE, IMAGE_BYTES, tf.make_tensor_proto([image] * batch))
        yield _request(name, TENSOR_SIGNATURE, "image", zeros)


def _request(name: str, signature: str, key: str, value: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.inputs[key].CopyFrom(value)
    return request
