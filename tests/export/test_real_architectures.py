"""The models of the recipes, exported, in processes that have only TensorFlow. Slow: set KERASORTHO_SLOW=1.

The tests of `kerasortho export` use models of a few weights; here are the operations of ResNet50 and both U-Nets. The
weights are random.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from kerasortho.evaluation.inference import Predictor

pytestmark = pytest.mark.skipif("KERASORTHO_SLOW" not in os.environ, reason="set KERASORTHO_SLOW=1: takes minutes")
keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
from kerasortho.export.export import export  # noqa: E402
from kerasortho.models.registry import MODELS, build_model  # noqa: E402

SIZE = (32, 32)  # as the tiny runs have it
ARCHITECTURES = {
    "resnet50": {"weights": None, "classes": 2},
    "unet": {"base_filters": 8, "depth": 3},
    "unet_mobilenetv2": {"weights": None, "encoder_stride": 16},
}
BARE = """
import json, pathlib
import numpy as np
import tensorflow as tf
folder, file, tensor = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
(answer,) = signatures["tensor"](image=np.load(tensor)).values()
row = signatures["serving_default"](image_bytes=tf.constant([pathlib.Path(file).read_bytes()]))
given = row["probabilities"] if "probabilities" in row else tf.io.decode_png(row["probability_png_bytes"][0])
print(json.dumps([answer.numpy().tolist(), given.numpy().tolist()]))
"""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was exported, a file and a tensor to ask about, and the run's own answers to both."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    built = build_model(request.param, input_size=SIZE, **ARCHITECTURES[request.param])
    run = tiny.make_run(tiny.make_dataset(folder / "data"), built, MODELS[request.param].task, name=request.param)
    tiny.write_image(folder / "image.png", (57, 80), True, 0)
    np.save(folder / "tensor.npy", np.random.default_rng(0).random((3, *SIZE, 1), np.float32))
    np.save(folder / "files.npy", np.array([(folder / "image.png").read_bytes()]))
    predictor = Predictor(run)
    (prediction,) = predictor.predict([folder / "image.png"])
    return SimpleNamespace(
        folder=folder,
        exported=export(run, folder / "exported"),
        of_tensor=predictor.ask(np.load(folder / "tensor.npy")[..., 0]),
        of_file=prediction.probabilities,
        segmenter=predictor.task == "segmentation",
    )


def check(model: SimpleNamespace, of_tensor: np.ndarray, of_file: np.ndarray) -> None:
    """Compare with the run's answers; a map in a file has 8 bits."""
    np.testing.assert_allclose(of_tensor.reshape(model.of_tensor.shape), model.of_tensor, atol=1e-5)
    found = of_file.reshape(model.of_file.shape) / (255 if model.segmenter else 1)
    np.testing.assert_allclose(found, model.of_file, atol=0.51 / 255 if model.segmenter else 1e-5)


def test_in_a_process_that_has_only_tensorflow(model: SimpleNamespace, bare_python: Callable[..., str]) -> None:
    files = (model.folder / "image.png", model.folder / "tensor.npy")
    check(model, *map(np.array, json.loads(bare_python(BARE, model.exported, *files).splitlines()[-1])))


def test_with_the_session_loader(model: SimpleNamespace) -> None:
    """As TensorFlow Serving loads it."""
    found = {}
    for signature, given in (("tensor", "image=tensor.npy"), ("serving_default", "image_bytes=files.npy")):
        command = [Path(sys.executable).with_name("saved_model_cli"), "run", "--dir", model.exported, "--overwrite"]
        command += ["--tag_set", "serve", "--signature_def", signature, "--inputs", given, "--outdir", signature]
        words = [*map(str, command)]
        done = subprocess.run(words, cwd=model.folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        found[signature] = {
            file.stem: np.load(file, allow_pickle=True) for file in (model.folder / signature).iterdir()
        }
    (of_tensor,) = found["tensor"].values()
    row = found["serving_default"]
    if model.segmenter:
        of_file = cv2.imdecode(np.frombuffer(row["probability_png_bytes"][0], np.uint8), cv2.IMREAD_UNCHANGED)
    else:
        of_file = row["probabilities"]
    check(model, of_tensor, of_file)
