"""A trained model in float32, whatever precision it was trained in."""

from __future__ import annotations

from typing import Any

import keras


def in_float32(model: keras.Model) -> keras.Model:
    """Return ``model`` with every layer computing in float32, and the same weights.

    Mixed precision keeps its weights in float32 and only computes in 16 bits, so that nothing is lost; servers and edge
    devices are often slower in 16 bits, or do not know them.
    """
    config = model.get_config()
    plain = _with_float32(config)
    if plain == config:
        return model
    result = model.__class__.from_config(plain)
    result.set_weights(model.get_weights())
    return result


def _with_float32(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":
            return {**value, "config": {**value["config"], "name": "float32"}}
        return {key: _with_float32(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_float32(item) for item in value)
    return value
