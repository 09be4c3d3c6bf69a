"""TensorFlow Serving's gRPC API: the protos in tensorflow_serving/apis, and what they say of their messages.

The protos name no status codes: these are used as gRPC's guide has them (https://grpc.io/docs/guides/status-codes).
Texts of errors are documented nowhere but in the sources below https://github.com/tensorflow/serving/blob:

    0ab611722709730c3c1fa8e613d31b50eea77102/tensorflow_serving/servables/tensorflow/predict_util.cc
    1b86c9e771d8e7089945d9431f1dcdc1081608cb/tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc
    1b86c9e771d8e7089945d9431f1dcdc1081608cb/tensorflow_serving/model_servers/get_model_status_impl.cc
    master/tensorflow_serving/model_servers/server_core.cc, which turns a ModelSpec into a version
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
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2  # noqa: E402

images = runpy.run_path(str(Path(__file__).with_name("images.py")))
png = images["png"]
GOOD = [png((40, 30)), png((33, 70), top=False, seed=1), png((64, 64), seed=2)]
Code = grpc.StatusCode


class refused:
    """Check that a call fails with a code and a text."""

    def __init__(self, code: grpc.StatusCode, text: str = "") -> None:
        self.expected, self.text = code, text

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        assert isinstance(error, grpc.RpcError), f"no refusal but {error!r}"
        assert error.code() == self.expected, error
        assert self.text in error.details(), error.details()
        return True


def arrays(response: Any) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


def test_predict_answers_as_rest_does(target: Any) -> None:
    """predict.proto: PredictResponse has the outputs by alias, and the ModelSpec that has answered."""
    response = target.grpc_predict(target.classifier, {"image_bytes": GOOD})
    spec = response.model_spec
    assert (spec.name, spec.signature_name) == (target.classifier, "serving_default") and spec.version.value > 0
    found = arrays(response)
    body = {"inputs": [{"b64": base64.b64encode(image).decode()} for image in GOOD]}
    expected = target.rest_predict(target.classifier, body)[1]["outputs"]
    assert [label.decode() for label in found["label"]] == expected["label"]
    assert found["index"].tolist() == expected["index"]
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)


def test_files_come_back_whole(target: Any) -> None:
    """tensor.proto: string_val holds bytes; a PNG ends in zeros that must not be lost."""
    found = arrays(target.grpc_predict(target.segmenter, {"image_bytes": GOOD}))
    body = {"instances": [{"b64": base64.b64encode(image).decode()} for image in GOOD]}
    rows = target.rest_predict(target.segmenter, body)[1]["predictions"]
    for place, row in enumerate(rows):
        for output in ("mask_png_bytes", "probability_png_bytes"):
            assert found[output][place] == base64.b64decode(row[output]["b64"])


def test_output_filter(target: Any) -> None:
    """predict.proto: "Only tensors specified here will be run/fetched and returned"; texts of predict_util.cc."""
    response = target.grpc_predict(target.classifier, {"image_bytes": GOOD}, outputs=("label",))
    assert list(response.outputs) == ["label"]
    with refused(Code.INVALID_ARGUMENT, "output tensor alias not found in signature: nobody"):
        target.grpc_predict(target.classifier, {"image_bytes": GOOD}, outputs=("nobody",))
    with refused(Code.INVALID_ARGUMENT, "duplicate output tensor alias: label"):
        target.grpc_predict(target.classifier, {"image_bytes": GOOD}, outputs=("label", "label"))


def test_tensor_signature(target: Any) -> None:
    """model.proto, signature_name: "If unspecified, the default signature will be used"."""
    shape = _input_shape(target, target.classifier)
    response = target.grpc_predict(
        target.classifier, {"image": np.full([3, *shape], 0.5, np.float32)}, signature="tensor"
    )
    assert list(response.outputs) == ["probabilities"]
    np.testing.assert_allclose(arrays(response)["probabilities"].sum(axis=1), 1, rtol=1e-5)


def _input_shape(target: Any, model: str) -> list[int]:
    signatures = _signatures(target, model)
    return [dimension.size for dimension in signatures["tensor"].inputs["image"].tensor_shape.dim][1:]


def _signatures(target: Any, model: str) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    response = target.metadata(request)
    assert response.model_spec.name == model and response.model_spec.version.value > 0
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    return signatures.signature_def


def test_metadata(target: Any) -> None:
    """get_model_metadata.proto: metadata "signature_def" is a SignatureDefMap."""
    signature = _signatures(target, target.classifier)["serving_default"]
    assert signature.inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    assert set(signature.outputs) == {"probabilities", "label", "index", "classes", "error"}


def test_metadata_that_is_not_there(target: Any) -> None:
    """get_model_metadata.proto: "Currently supported: "signature_def"."; texts of get_model_metadata_impl.cc."""
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    with refused(Code.INVALID_ARGUMENT, "Missing ModelSpec"):
        target.metadata(request)
    request.model_spec.name = target.classifier
    with refused(Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field"):
        target.metadata(request)
    request.metadata_field.append("weights")
    with refused(Code.INVALID_ARGUMENT, "is not supported"):
        target.metadata(request)


def test_status(target: Any) -> None:
    """get_model_status.proto: "If version is not specified, information about all versions of the model will be
    returned. If a version is specified, the status of only that version"; texts of get_model_status_impl.cc."""
    request = get_model_status_pb2.GetModelStatusRequest()
    with refused(Code.INVALID_ARGUMENT, "Missing ModelSpec"):
        target.model_service(request)
    request.model_spec.name = target.classifier
    states = target.model_service(request).model_version_status
    assert states[0].state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert (states[0].status.error_code, states[0].status.error_message) == (0, "")
    request.model_spec.version.value = states[0].version
    assert list(target.model_service(request).model_version_status) == [states[0]]
    request.model_spec.version.value = 987
    with refused(Code.NOT_FOUND, f"Could not find version 987 of model {target.classifier}"):
        target.model_service(request)
    request.model_spec.name = "nobody"
    request.model_spec.ClearField("version")
    with refused(Code.NOT_FOUND, "Could not find any versions of model nobody"):
        target.model_service(request)


def test_versions_and_labels(target: Any) -> None:
    """model.proto, version_choice: a version's number or its label; configuration guide, "Assigning String Labels to
    Model Versions" (https://www.tensorflow.org/tfx/serving/serving_config); texts of server_core.cc."""
    inputs = {"image_bytes": GOOD[:1]}
    version = target.grpc_predict(target.classifier, inputs).model_spec.version.value
    assert target.grpc_predict(target.classifier, inputs, version=version).model_spec.version.value == version
    with refused(Code.NOT_FOUND, f"Servable not found for request: Specific({target.classifier}, 987)"):
        target.grpc_predict(target.classifier, inputs, version=987)
    with refused(Code.INVALID_ARGUMENT, "Unrecognized servable version label: nobody"):
        target.grpc_predict(target.classifier, inputs, label="nobody")
    if target.label:
        assert target.grpc_predict(target.classifier, inputs, label=target.label).model_spec.version.value > 0


def test_what_is_not_there(target: Any) -> None:
    """model.proto: "Required servable name." and signature_name; NOT_FOUND as in the example of the page "RESTful API"
    (https://www.tensorflow.org/tfx/serving/api_rest); texts of server_core.cc and predict_util.cc."""
    inputs = {"image_bytes": GOOD[:1]}
    with refused(Code.NOT_FOUND, "Servable not found for request: Latest(nobody)"):
        target.grpc_predict("nobody", inputs)
    with refused(Code.INVALID_ARGUMENT, "ModelSpec has no name specified."):
        target.grpc_predict("", inputs)
    with refused(Code.FAILED_PRECONDITION, 'Serving signature key "nobody" not found.'):
        target.grpc_predict(target.classifier, inputs, signature="nobody")


def test_inputs_that_do_not_fit(target: Any) -> None:
    """predict.proto: "Names of input tensor are alias names", those of the SignatureDef's inputs, which
    has their types, too (meta_graph.proto, TensorInfo); texts of predict_util.cc."""
    with refused(Code.INVALID_ARGUMENT, "input size does not match signature: 0!=1"):
        target.grpc_predict(target.classifier, {})
    with refused(Code.INVALID_ARGUMENT, "Sent extra: {more}"):
        target.grpc_predict(target.classifier, {"image_bytes": GOOD, "more": [1]})
    with refused(Code.INVALID_ARGUMENT, "input tensor alias not found in signature: picture"):
        target.grpc_predict(target.classifier, {"picture": GOOD})
    with refused(Code.INVALID_ARGUMENT):
        target.grpc_predict(target.classifier, {"image_bytes": np.zeros([1], np.float32)})


def test_more_images_than_a_batch(target: Any) -> None:
    """Batching guide (tensorflow_serving/batching/README.md), max_batch_size; text of batch_scheduler's queue."""
    if not target.max_batch:
        pytest.skip("the batch size of the server under test is not known")
    most = int(target.max_batch)
    with refused(Code.INVALID_ARGUMENT, f"Task size {most + 1} is larger than maximum input batch size {most}"):
        target.grpc_predict(target.classifier, {"image_bytes": GOOD[:1] * (most + 1)})
