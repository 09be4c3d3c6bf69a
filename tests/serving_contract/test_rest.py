"""TensorFlow Serving's REST API: https://www.tensorflow.org/tfx/serving/api_rest (below: the page's sections).

Other pages: the configuration guide (https://www.tensorflow.org/tfx/serving/serving_config), and the batching guide
(https://github.com/tensorflow/serving/blob/master/tensorflow_serving/batching/README.md). Texts of errors that no page
gives are those of the sources below https://github.com/tensorflow/serving/blob, and of their tests:

    d7c3b3deacbabf763ed44fb6932535016852e90a/tensorflow_serving/util/json_tensor.cc
    00e459f1604c40c073cbb9cb92d72cb6a88be9cd/tensorflow_serving/model_servers/http_rest_api_handler.cc
    1b86c9e771d8e7089945d9431f1dcdc1081608cb/tensorflow_serving/model_servers/get_model_status_impl.cc
"""

from __future__ import annotations

import base64
import json
import math
import runpy
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

images = runpy.run_path(str(Path(__file__).with_name("images.py")))
png = images["png"]
GOOD = [png((40, 30)), png((33, 70), top=False, seed=1), png((64, 64), seed=2)]


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def refused(answer: tuple[int, Any], status: int, text: str) -> None:
    """Check an error: "In case of error, all APIs will return a JSON object in the response body with error as key"."""
    assert answer[0] == status, answer
    assert list(answer[1]) == ["error"] and text in answer[1]["error"], answer


def tensor_size(target: Any, model: str) -> list[int]:
    metadata = target.http(f"/v1/models/{model}/metadata")[1]["metadata"]["signature_def"]["signature_def"]
    return [int(d["size"]) for d in metadata["tensor"]["inputs"]["image"]["tensor_shape"]["dim"][1:]]


def test_status_of_all_versions(target: Any) -> None:
    """Model status API: GET /v1/models/NAME; a JSON representation of GetModelStatusResponse (int64 as text)."""
    status, answer = target.http(f"/v1/models/{target.classifier}")
    assert status == 200
    states = answer["model_version_status"]
    assert {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}.items() <= states[0].items()
    assert all(isinstance(state["version"], str) and state["version"].isdecimal() for state in states)


def test_status_of_one_version(target: Any) -> None:
    """Model status API: GET /v1/models/NAME/versions/N."""
    states = target.http(f"/v1/models/{target.classifier}")[1]["model_version_status"]
    version = states[0]["version"]
    assert target.http(f"/v1/models/{target.classifier}/versions/{version}") == (
        200, {"model_version_status": [states[0]]},
    )  # fmt: skip


def test_status_by_label(target: Any) -> None:
    """Model status API: "Including /versions/${VERSION} or /labels/${LABEL} is optional"."""
    url = f"/v1/models/{target.classifier}/labels"
    refused(target.http(f"{url}/nobody"), 400, "Unrecognized servable version label: nobody")
    if not target.label:
        pytest.skip("the server under test has no label")
    status, answer = target.http(f"{url}/{target.label}")
    assert status == 200 and [state["state"] for state in answer["model_version_status"]] == ["AVAILABLE"]


def test_status_of_what_is_not_there(target: Any) -> None:
    """Model status API; errors as "error" with an HTTP status; texts of get_model_status_impl.cc."""
    refused(target.http("/v1/models/nobody"), 404, "Could not find any versions of model nobody")
    url = f"/v1/models/{target.classifier}/versions/987"
    refused(target.http(url), 404, f"Could not find version 987 of model {target.classifier}")


def test_metadata(target: Any) -> None:
    """Model Metadata API: GET /v1/models/NAME/metadata; a JSON representation of GetModelMetadataResponse."""
    status, answer = target.http(f"/v1/models/{target.segmenter}/metadata")
    assert status == 200 and answer["model_spec"]["name"] == target.segmenter
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    image = signature["inputs"]["image_bytes"]
    assert (image["dtype"], image["tensor_shape"]["dim"][0]["size"]) == ("DT_STRING", "-1")
    wanted = {"mask_png_bytes", "probability_png_bytes", "foreground_fraction", "threshold", "error"}
    assert wanted == set(signature["outputs"])
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_rows(target: Any) -> None:
    """Predict API, "Specifying input tensors in row format": one named input may be given by value or by name."""
    status, plain = target.rest_predict(target.classifier, {"instances": [b64(image) for image in GOOD]})
    assert status == 200 and list(plain) == ["predictions"] and len(plain["predictions"]) == 3
    named = {"instances": [{"image_bytes": b64(image)} for image in GOOD]}
    assert target.rest_predict(target.classifier, named) == (200, plain)
    for row, image in zip(plain["predictions"], GOOD, strict=True):
        assert set(row) == {"probabilities", "label", "index", "classes", "error"} and row["error"] == ""
        assert math.isclose(sum(row["probabilities"]), 1, rel_tol=1e-5)
        assert row["index"] == int(np.argmax(row["probabilities"])) and isinstance(row["label"], str) and row["label"]
        alone = target.rest_predict(target.classifier, {"instances": [b64(image)]})[1]["predictions"][0]
        np.testing.assert_allclose(row["probabilities"], alone["probabilities"], atol=1e-5)


def test_columns(target: Any) -> None:
    """Predict API, "Specifying input tensors in column format": the answer has "outputs", an object of columns."""
    data = [b64(image) for image in GOOD]
    status, answer = target.rest_predict(target.classifier, {"inputs": {"image_bytes": data}})
    assert status == 200 and list(answer) == ["outputs"]
    assert target.rest_predict(target.classifier, {"inputs": data})[0] == 200
    rows = target.rest_predict(target.classifier, {"instances": data})[1]["predictions"]
    columns = answer["outputs"]
    assert columns["label"] == [row["label"] for row in rows]
    np.testing.assert_allclose(columns["probabilities"], [row["probabilities"] for row in rows], atol=1e-5)


def test_outputs_whose_name_ends_in_bytes(target: Any) -> None:
    """Predict API, "Output of binary values": "Named tensors that have _bytes as a suffix" are {"b64": ...}."""
    import io

    from PIL import Image

    rows = target.rest_predict(target.segmenter, {"instances": [b64(image) for image in GOOD]})[1]["predictions"]
    for row, image in zip(rows, GOOD, strict=True):
        size = Image.open(io.BytesIO(image)).size
        for output in ("mask_png_bytes", "probability_png_bytes"):
            assert list(row[output]) == ["b64"]
            assert Image.open(io.BytesIO(base64.b64decode(row[output]["b64"]))).size == size
        assert isinstance(row["foreground_fraction"], float) and isinstance(row["error"], str)


def test_a_single_output_has_no_name(target: Any) -> None:
    """Predict API, "Response format": "If the output of the model contains only one named tensor, we omit the name"."""
    size = tensor_size(target, target.classifier)
    body = {"signature_name": "tensor", "instances": np.full([2, *size], 0.5).tolist()}
    status, answer = target.rest_predict(target.classifier, body)
    assert status == 200 and np.shape(answer["predictions"])[0] == 2
    body = {"signature_name": "tensor", "inputs": {"image": np.full([2, *size], 0.5).tolist()}}
    columns = target.rest_predict(target.classifier, body)[1]
    np.testing.assert_allclose(columns["outputs"], answer["predictions"], atol=1e-5)


def test_not_a_number_is_a_number(target: Any) -> None:
    """JSON conformance: it "allows request/response JSON objects to have such values"."""
    image = np.full([1, *tensor_size(target, target.segmenter)], 0.5)
    image[0, 0, 0] = np.nan
    body = {"signature_name": "tensor", "instances": image.tolist()}
    assert b"NaN" in json.dumps(body).encode()
    assert target.rest_predict(target.segmenter, body)[0] == 200


def test_version_in_the_address(target: Any) -> None:
    """Predict API: "/versions/${MODEL_VERSION} is optional. If omitted the latest version is used"."""
    states = target.http(f"/v1/models/{target.classifier}")[1]["model_version_status"]
    newest = max(int(state["version"]) for state in states if state["state"] == "AVAILABLE")
    body = {"instances": [b64(GOOD[0])]}
    asked = target.rest_predict(target.classifier, body, f"/versions/{newest}")
    assert asked[0] == 200 and asked[1].keys() == target.rest_predict(target.classifier, body)[1].keys()


def test_label_in_the_address(target: Any) -> None:
    """Predict API: /labels/${LABEL}; configuration guide, "Assigning String Labels to Model Versions"."""
    body = {"instances": [b64(GOOD[0])]}
    refused(
        target.rest_predict(target.classifier, body, "/labels/nobody"), 400,
        "Unrecognized servable version label: nobody",
    )  # fmt: skip
    if not target.label:
        pytest.skip("the server under test has no label")
    assert target.rest_predict(target.classifier, body, f"/labels/{target.label}")[0] == 200
    assert target.http(f"/v1/models/{target.classifier}/labels/{target.label}/metadata")[0] == 200


def test_models_and_versions_that_are_not_there(target: Any) -> None:
    """Example: "{ "error": "Servable not found for request: Latest(half)" }" with HTTP 404."""
    body = {"instances": [b64(GOOD[0])]}
    refused(target.rest_predict("half", body), 404, "Servable not found for request: Latest(half)")
    name = target.classifier
    refused(
        target.rest_predict(name, body, "/versions/987"), 404, f"Servable not found for request: Specific({name}, 987)"
    )
    refused(target.http(f"/v1/models/{name}/versions/987/metadata"), 404, "Servable not found for request")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error"),
        (b'{"instances": [1, 2}', "JSON Parse error"),
        (b"\xff\xfe\x00", "JSON Parse error"),
        (b"[1]", "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [], "inputs": []}, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"),
        ({"instances": 1}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [1]}, "is not of expected type: string"),
        ({"instances": [None]}, "is not of expected type: string"),
        ({"instances": [{"b64": "%%"}]}, "Unable to base64 decode"),
        ({"instances": [{"picture": {"b64": ""}}]}, "Failed to process element: 0"),
        ({"instances": [{"b64": ""}, {"image_bytes": {"b64": ""}}]}, "Expecting value/list but got object at item 1"),
        ({"inputs": {"picture": []}}, "Missing named input: image_bytes in 'inputs' object."),
        ({"signature_name": 100, "instances": [1]}, "'signature_name' key must be a string value."),
        ({"signature_name": "nobody", "instances": [1]}, 'Serving signature name: "nobody" not found in signature def'),
    ],
)  # fmt: skip
def test_malformed_bodies(target: Any, body: Any, text: str) -> None:
    """Predict API, "Request format", and "Encoding binary values"; texts of json_tensor.cc. HTTP 400 for each."""
    refused(target.rest_predict(target.classifier, body), 400, text)


@pytest.mark.parametrize("value", ["text", True, None, {"b64": "aaaa"}])
def test_elements_of_another_type(target: Any, value: Any) -> None:
    """JSON mapping: DT_FLOAT is a number."""
    body = {"signature_name": "tensor", "instances": [[[value]]]}
    refused(target.rest_predict(target.classifier, body), 400, "is not of expected type: float")


def test_ragged_lists(target: Any) -> None:
    """Predict API: tensors are nested lists; texts of json_tensor.cc."""
    body = {"signature_name": "tensor", "inputs": [[1.0, 2.0], [3.0]]}
    refused(target.rest_predict(target.classifier, body), 400, "Encountered list at unexpected size")
    body = {"signature_name": "tensor", "inputs": [[1.0], 2.0]}
    refused(target.rest_predict(target.classifier, body), 400, "found at incorrect level")


def test_addresses_that_mean_nothing(target: Any) -> None:
    """The page's sections "URL" have all that there are; "An incorrect request URL or body returns an HTTP error
    status"; text of http_rest_api_handler.cc."""
    name = target.classifier
    refused(target.http(f"/v1/models/{name}:guess", {}), 400, f"Malformed request: POST /v1/models/{name}:guess")
    refused(target.http(f"/v1/models/{name}:predict"), 400, "Malformed request: GET")
    refused(target.http("/v1/models"), 400, "Missing model name in request.")


def test_more_images_than_a_batch(target: Any) -> None:
    """Batching guide (tensorflow_serving/batching/README.md), max_batch_size; text of batch_scheduler's queue."""
    if not target.max_batch:
        pytest.skip("the batch size of the server under test is not known")
    most = int(target.max_batch)
    assert target.rest_predict(target.classifier, {"instances": [b64(GOOD[0])] * most})[0] == 200
    refused(
        target.rest_predict(target.classifier, {"instances": [b64(GOOD[0])] * (most + 1)}), 400,
        f"Task size {most + 1} is larger than maximum input batch size {most}",
    )  # fmt: skip


def test_prometheus(target: Any) -> None:
    """Configuration guide, "Monitoring Configuration": metrics at the path of monitoring.config."""
    with urllib.request.urlopen(f"{target.rest}/monitoring/prometheus/metrics", timeout=60) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        assert b"# TYPE " in response.read()
