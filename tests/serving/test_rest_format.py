"""The JSON of requests and answers: types, shapes, and the rounding that there must not be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo  # noqa: E402

from kerasortho.serving.refusal import Refusal  # noqa: E402
from kerasortho.serving.rest_format import read_inputs, read_request, write_answer  # noqa: E402


def info(dtype: Any) -> TensorInfo:
    return TensorInfo(dtype=dtype.as_datatype_enum)


def read(body: Any, **inputs: Any) -> dict[str, np.ndarray]:
    _, document = read_request(json.dumps(body).encode())
    return read_inputs(document, {name: info(dtype) for name, dtype in inputs.items()})[0]


def test_several_inputs_in_rows_and_columns() -> None:
    """The example of the page "RESTful API"."""
    rows = [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    kinds = {"tag": tf.string, "signal": tf.int32, "sensor": tf.float32}
    for body in ({"instances": rows}, {"inputs": columns}):
        found = read(body, **kinds)
        assert found["tag"].tolist() == [b"foo", b"bar"]
        assert found["signal"].dtype == np.int32 and found["signal"].shape == (2, 5)
        assert found["sensor"].dtype == np.float32 and found["sensor"].tolist() == columns["sensor"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"instances": ["foo", "bar"]}, "instances is a plain list, but expecting list of objects"),
        ({"inputs": ["foo"]}, "inputs is a plain value/list, but expecting an object"),
        ({"instances": [{"tag": "a"}]}, "keys must be equal to: signal,tag"),
        ({"instances": [{"tag": "a", "signal": 1}, {"tag": "a", "signal": [1]}]}, "element: 1 of 'instances' list"),
        ({"instances": [{"tag": "a", "signal": 1}, "b"]}, "Expecting object but got list at item 1"),
        ({"inputs": {"tag": ["a"]}}, "Missing named input: signal"),
        ({"inputs": {"tag": ["a"], "signal": [1 << 31]}}, "is not of expected type: int32"),
        ({"inputs": {"tag": ["a"], "signal": [True]}}, "is not of expected type: int32"),
        ({"inputs": {"tag": ["a"], "signal": [1.5]}}, "is not of expected type: int32"),
    ],
)  # fmt: skip
def test_several_inputs_that_do_not_fit(body: Any, text: str) -> None:
    with pytest.raises(Refusal, match=text) as error:
        read(body, tag=tf.string, signal=tf.int32)
    assert error.value.http_status == 400


def test_numbers_are_not_rounded_in_silence() -> None:
    assert read({"inputs": [1e38, 16777215, float("nan"), float("-inf")]}, x=tf.float32)["x"].dtype == np.float32
    for value in (1e39, 16777217, -1e300, 10**400):
        with pytest.raises(Refusal, match="without loss of precision"):
            read({"inputs": [value]}, x=tf.float32)
    assert read({"inputs": [2**63, 0]}, x=tf.uint64)["x"].tolist() == [2**63, 0]


@pytest.mark.parametrize("text", ["iVBORw0KGgoAAAANSUhEUgAA", "/9j/4AAQSkZJRgABAQAA"])
def test_an_image_in_base64_without_its_object(text: str) -> None:
    for body in ({"instances": ["x", text]}, {"instances": [{"image_bytes": text}]}, {"inputs": [text]}):
        with pytest.raises(Refusal, match=r'image_bytes is base64 as plain text.*{"b64": "') as error:
            read(body, image_bytes=tf.string)
        assert error.value.http_status == 400
    assert read({"instances": [text]}, text=tf.string)["text"].tolist() == [text.encode()]


@pytest.mark.parametrize("body", [b"\x89PNG\r\n", b"--limit\r\n\r\n\xff\xd8", b"image=iVBORw0KGgo"])
def test_a_body_that_is_no_json_at_all(body: bytes) -> None:
    with pytest.raises(Refusal, match=r'^JSON Parse error: .* at offset: \d+\. Send JSON.*{"instances": \[{"b64": '):
        read_request(body)


def test_bytes() -> None:
    data = bytes(range(256)) + b"\0\0"
    import base64

    text = base64.b64encode(data).decode()
    for sent in (text, text.rstrip("=")):
        found = read({"inputs": [{"b64": sent}, "plain ä"]}, image_bytes=tf.string)["image_bytes"]
        assert found.tolist() == [data, "plain ä".encode()]
    for wrong in ({"b64": 1}, {"b64": text, "more": 1}, {"b65": text}):
        with pytest.raises(Refusal, match=r"not formatted correctly for base64 data|Missing named input"):
            read({"inputs": [wrong]} if "b64" in wrong else {"inputs": wrong}, image_bytes=tf.string)


def test_far_too_many_values_are_not_parsed() -> None:
    body = b'{"instances": [' + b"1," * 1300  # and no end
    with pytest.raises(Refusal, match=r"has 1301 values; the model's signatures take 100 at most"):
        read_request(body, 100)
    with pytest.raises(Refusal, match="JSON Parse error"):
        read_request(body, 200)
    with pytest.raises(Refusal, match="JSON Parse error"):
        read_request(body)


def test_empty_columns_have_no_rows() -> None:
    assert read({"inputs": []}, image_bytes=tf.string)["image_bytes"].shape == (0,)


def test_answers() -> None:
    outputs = {
        "png_bytes": np.array([b"\x89\0", b""], object),
        "label": np.array(["Fuß".encode(), b"\xff"], object),
        "p": np.array([[0.1, 0.9], [np.nan, np.inf]], np.float32),
        "classes": np.array([[b"a", b"b"], [b"a", b"b"]], object),
    }
    columns = {
        "png_bytes": [{"b64": "iQA="}, {"b64": ""}], "label": ["Fuß", "�"], "p": outputs["p"].tolist(),
        "classes": [["a", "b"], ["a", "b"]],
    }  # fmt: skip
    assert json.dumps(write_answer(outputs, rows=False)) == json.dumps({"outputs": columns})
    rows = write_answer(outputs, rows=True)["predictions"]
    assert rows[0] == {"png_bytes": {"b64": "iQA="}, "label": "Fuß", "p": columns["p"][0], "classes": ["a", "b"]}
    assert np.float32(rows[0]["p"][0]) == outputs["p"][0, 0]  # all digits of the number
    assert write_answer({"p": outputs["p"][:1]}, rows=True) == {"predictions": outputs["p"][:1].tolist()}
    assert write_answer({"p": outputs["p"][:1]}, rows=False) == {"outputs": outputs["p"][:1].tolist()}
