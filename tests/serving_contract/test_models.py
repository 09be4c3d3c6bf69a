"""The exported models' own rules, which are not TensorFlow Serving's: docs/serving.md, "A bad image".

They are in the model's graph, so they hold on any server; asked over REST and gRPC.
"""

from __future__ import annotations

import base64
import runpy
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

images = runpy.run_path(str(Path(__file__).with_name("images.py")))
png, BAD = images["png"], images["BAD"]
GOOD = [png((40, 30)), png((33, 70), top=False, seed=1)]


def rest(target: Any, model: str, *files: bytes) -> tuple[int, Any]:
    return target.rest_predict(model, {"instances": [{"b64": base64.b64encode(file).decode()} for file in files]})


def over_grpc(target: Any, model: str, *files: bytes) -> dict[str, np.ndarray]:
    outputs = target.grpc_predict(model, {"image_bytes": list(files)}).outputs
    return {name: tf.make_ndarray(value) for name, value in outputs.items()}


@pytest.mark.parametrize("kind", BAD)
def test_bad_image_over_rest(target: Any, kind: str) -> None:
    """It has its ``error``, the others of the request their answers; a request of bad images alone is refused."""
    status, answer = rest(target, target.classifier, BAD[kind])
    assert status == 400 and answer["error"]
    first, bad, second = rest(target, target.classifier, GOOD[0], BAD[kind], GOOD[1])[1]["predictions"]
    assert bad["error"] and bad["error"] in answer["error"]
    assert (bad["index"], bad["label"], set(bad["probabilities"])) == (-1, "", {0.0})
    for row, image in ((first, GOOD[0]), (second, GOOD[1])):
        alone = rest(target, target.classifier, image)[1]["predictions"][0]
        assert row["error"] == "" and row["label"] == alone["label"]
        np.testing.assert_allclose(row["probabilities"], alone["probabilities"], atol=1e-5)


@pytest.mark.parametrize("kind", BAD)
def test_bad_image_over_grpc(target: Any, kind: str) -> None:
    """The same, with INVALID_ARGUMENT."""
    found = over_grpc(target, target.classifier, GOOD[0], BAD[kind], GOOD[1])
    assert [bool(text) for text in found["error"]] == [False, True, False]
    assert found["index"][1] == -1 and found["label"][1] == b""
    alone = over_grpc(target, target.classifier, GOOD[0])
    np.testing.assert_allclose(found["probabilities"][0], alone["probabilities"][0], atol=1e-5)
    with pytest.raises(grpc.RpcError) as error:
        over_grpc(target, target.classifier, BAD[kind])
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert found["error"][1].decode() in error.value.details()


def test_image_of_one_pixel(target: Any) -> None:
    """The smallest image is an image."""
    (row,) = rest(target, target.segmenter, png((1, 1)))[1]["predictions"]
    assert row["error"] == "" and row["mask_png_bytes"]["b64"]
    found = over_grpc(target, target.segmenter, png((1, 1)))
    assert found["error"].tolist() == [b""]
    assert found["mask_png_bytes"][0] == base64.b64decode(row["mask_png_bytes"]["b64"])
