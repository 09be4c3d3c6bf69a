"""The warm-up requests of an exported model: TensorFlow Serving replays them, so each must be one that it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
from tensorflow_serving.apis import prediction_log_pb2  # noqa: E402

from kerasortho.export.export import export  # noqa: E402
from kerasortho.export.warmup import FILE  # noqa: E402


def requests(folder: Path) -> list[Any]:
    records = tf.data.TFRecordDataset(str(folder / FILE))
    return [prediction_log_pb2.PredictionLog.FromString(r.numpy()).predict_log.request for r in records]


def test_every_signature_with_one_image_and_with_many(exported: Path) -> None:
    folder, seen = exported / "bone" / "1", []
    for request in requests(folder):
        assert request.model_spec.name == "bone"
        ((key, value),) = request.inputs.items()
        seen.append((request.model_spec.signature_name, key, value.tensor_shape.dim[0].size))
        signature = tf.saved_model.load(str(folder)).signatures[request.model_spec.signature_name]
        signature(**{key: tf.constant(tf.make_ndarray(value))})
    assert sorted(seen) == [
        (signature, key, batch)
        for signature, key in (("serving_default", "image_bytes"), ("tensor", "image"))
        for batch in (1, 8)
    ]
    assert (folder / FILE).stat().st_size < 3_000_000


def test_batches_fit_the_batching_in_force(runs: dict[str, Path], tmp_path: Path) -> None:
    """TensorFlow Serving sends them through its batching, and takes what is refused there for a broken model."""
    (tmp_path / "batching.config").write_text("max_batch_size { value: 3 }")
    made = requests(export(runs["limb"], tmp_path))
    sizes = [value.tensor_shape.dim[0].size for request in made for value in request.inputs.values()]
    assert sorted(sizes) == [1, 1, 3, 3]


def test_the_image_fits_the_limit_of_pixels(runs: dict[str, Path], tmp_path: Path) -> None:
    """It also checks what was exported; with a small limit it would be refused at its usual size."""
    made = requests(export(runs["limb"], tmp_path, max_pixels=1000))
    images = [image for r in made if "image_bytes" in r.inputs for image in tf.make_ndarray(r.inputs["image_bytes"])]
    assert len(images) == 9 and all(900 < tf.size(tf.io.decode_png(image)) <= 1000 for image in images)
