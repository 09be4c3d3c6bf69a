"""TensorFlow Serving's JSON: requests to arrays, arrays to answers.

The rules, and the texts of the refusals, are those of its page "RESTful API" (tensorflow.org/tfx/serving/api_rest) and
of its util/json_tensor.cc: row format (``instances``), column format (``inputs``), ``{"b64": ...}`` for bytes, and
base64 of outputs whose name ends in ``_bytes``.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from kerasortho.serving.refusal import Refusal, invalid
from kerasortho.serving.servable import Tensors
from kerasortho.words import cut

Inputs = Mapping[str, TensorInfo]
_B64 = "b64"
_BYTES_SUFFIX = "_bytes"
_DEEPEST = 16  # dimensions of an array
_IMAGE_INPUT = "image_bytes"
_ENCODED = ("iVBORw0KGgo", "/9j/")  # how base64 of a PNG and of a JPEG begins
_SPARE_COMMAS = 1000  # of a body, beside those between the values
_EXAMPLE = '{"instances": [{"b64": "<the PNG or JPEG file in base64>"}]}'
_NO_JSON = f". Send JSON, not a form or the file itself: {_EXAMPLE}"
_JSON_TYPES = {type(None): "Null", bool: "Bool", dict: "Object", list: "Array", str: "String"}


def read_request(body: bytes, most_values: float = math.inf) -> tuple[str, dict[str, Any]]:
    """Return the signature's name, empty for the default one, and the JSON object. Raises Refusal.

    most_values: how many values the model takes. A body with far more of them is not parsed: as Python objects they
    would take up to twenty times the memory of the text. Base64 has no commas, so images have few.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if (commas := body.count(b",")) > 2 * most_values + _SPARE_COMMAS:
        raise invalid(
            f"The document has {commas + 1} values; the model's signatures take {most_values:.0f} at most in one "
            "request. Send images as files (base64), or fewer of them."
        )
    try:
        document = json.loads(body)  # NaN and infinities included, as TensorFlow Serving wants it
    except json.JSONDecodeError as error:
        hint = "" if error.pos else _NO_JSON
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}{hint}") from None
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: not UTF-8 at offset: {error.start}{_NO_JSON}") from None
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply") from None
    except ValueError as error:  # such as a number of thousands of digits
        raise invalid(f"JSON Parse error: {cut(str(error))}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_show(document)} Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {_show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return signature, document


def read_inputs(document: dict[str, Any], inputs: Inputs) -> tuple[Tensors, bool]:
    """Return the input arrays by name, and whether they came in row format. Raises Refusal."""
    rows, columns = "instances" in document, "inputs" in document
    if rows and columns:
        raise invalid(
            f"JSON Value: {_show(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if rows:
        return _read_rows(document["instances"], inputs), True
    if columns:
        return _read_columns(document["inputs"], inputs), False
    raise invalid("Missing 'inputs' or 'instances' key")


def write_answer(outputs: Tensors, rows: bool) -> dict[str, Any]:
    """Return the JSON object for outputs, all with the batch first, in row or column format."""
    columns = {name: _plain(name, value) for name, value in outputs.items()}
    if not rows:
        return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    count = len(next(iter(columns.values())))
    return {"predictions": [{name: column[row] for name, column in columns.items()} for row in range(count)]}


def _read_rows(instances: Any, inputs: Inputs) -> Tensors:
    if not isinstance(instances, list):
        raise invalid("JSON Value: " + _show(instances) + " Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("JSON Value: [] No values in 'instances' array")
    named = _is_named(instances[0])
    if not named and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    columns: dict[str, list[Any]] = {name: [] for name in inputs}
    for place, item in enumerate(instances):
        if named != _is_named(item):
            wanted, given = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {given} at item {place} of input list")
        values = item if named else dict.fromkeys(inputs, item)
        if values.keys() != columns.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {_show(item)} keys must be "
                f"equal to: {','.join(sorted(columns))}"
            )
        for name, value in values.items():
            columns[name].append(value)
    return {name: _tensor(name, column, inputs[name], row_format=True) for name, column in columns.items()}


def _read_columns(value: Any, inputs: Inputs) -> Tensors:
    if not _is_named(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = dict.fromkeys(inputs, value)
    for name in inputs:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(name, value[name], info, row_format=False) for name, info in inputs.items()}


def _is_named(value: Any) -> bool:
    """Tell an object of named inputs from a value; ``{"b64": text}`` is a value."""
    return isinstance(value, dict) and not _is_b64(value)


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_B64} and isinstance(value[_B64], str)


def _tensor(name: str, value: Any, info: TensorInfo, *, row_format: bool) -> np.ndarray:
    """Return nested lists as an array of the input's data type; every element is checked."""
    dtype = tf.as_dtype(info.dtype)
    shape: list[int] = []
    level = value
    while isinstance(level, list) and len(shape) <= _DEEPEST:
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) > _DEEPEST:
        raise invalid(f"Encountered list at unexpected level: {_DEEPEST + 1} expected < {_DEEPEST}")
    leaves: list[Any] = []
    read = _reader(name, dtype)

    def walk(item: Any, depth: int) -> None:
        if not isinstance(item, list):
            if depth != len(shape):
                raise invalid(
                    f"JSON Value: {_show(item)} found at incorrect level: {depth + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape)}"
                )
            leaves.append(read(item))
            return
        if depth >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {depth} expected < {len(shape)}")
        if len(item) != shape[depth]:
            raise invalid(
                f"Encountered list at unexpected size: {len(item)} at level: {depth} expected size: {shape[depth]}"
            )
        for place, child in enumerate(item):
            try:
                walk(child, depth + 1)
            except Refusal as refusal:
                if depth or not row_format:
                    raise
                message = f"Failed to process element: {place} of 'instances' list. Error: "
                raise invalid(f"{message}INVALID_ARGUMENT: {refusal.message}") from None

    walk(value, 0)
    if dtype == tf.string:
        array = np.empty(len(leaves), object)
        array[:] = leaves
        return array.reshape(shape)
    return np.asarray(leaves, dtype.as_numpy_dtype).reshape(shape)


def _reader(name: str, dtype: tf.DType) -> Callable[[Any], Any]:
    """Return what turns one JSON value into an element of the input ``name``, or refuses it."""

    limits = np.finfo(dtype.as_numpy_dtype) if dtype.is_floating else None

    def wrong(value: Any) -> Refusal:
        kind = _JSON_TYPES.get(type(value), "Number")
        return invalid(f"JSON Value: {_show(value)} Type: {kind} is not of expected type: {dtype.name}")

    def text(value: Any) -> bytes:
        if isinstance(value, str):
            if name == _IMAGE_INPUT and value.startswith(_ENCODED):
                raise invalid(f'{name} is base64 as plain text. Send it as an object: {{"b64": "{value[:8]}..."}}')
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict):
            return _decode(value)
        raise wrong(value)

    def number(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(value)
        assert limits is not None
        most = (2 << limits.nmant) - 1 if isinstance(value, int) else float(limits.max)
        if abs(value) > most and value not in (math.inf, -math.inf):
            raise invalid(f"Cannot convert JSON value: {_show(value)} to {dtype.name} without loss of precision.")
        return value

    def whole(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not dtype.min <= value <= dtype.max:
            raise wrong(value)
        return value

    def boolean(value: Any) -> bool:
        if not isinstance(value, bool):
            raise wrong(value)
        return value

    if dtype == tf.string:
        return text
    if dtype == tf.bool:
        return boolean
    return number if dtype.is_floating else whole


def _decode(value: dict[str, Any]) -> bytes:
    if not _is_b64(value):
        raise invalid(f"JSON Value: {_show(value)} not formatted correctly for base64 data")
    try:
        text = "".join(value[_B64].split())
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)  # padding may be left out there, too
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _plain(name: str, value: np.ndarray) -> list[Any]:
    if value.dtype != object:
        return list(value.tolist())
    write = _as_b64 if name.endswith(_BYTES_SUFFIX) else _as_text
    return [write(item) if isinstance(item, bytes) else _plain(name, item) for item in value]


def _as_b64(data: bytes) -> dict[str, str]:
    return {_B64: base64.b64encode(data).decode("ascii")}


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _show(value: Any) -> str:
    return cut(reprlib.repr(value))  # which looks at no more than it shows
