"""Turn plain data (YAML, JSON) into frozen dataclasses, strictly: nothing unknown, nothing of the wrong type."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import cut, echo

T = TypeVar("T")


class WrongKindError(KerasOrthoError):
    """A value is of the wrong kind; ``where`` is its dotted place."""

    def __init__(self, message: str, where: str) -> None:
        """Keep the place beside the message."""
        super().__init__(message)
        self.where = where


def build(cls: type[T], values: Any, where: str = "") -> T:
    """Return a ``cls`` dataclass made from the mapping ``values``.

    ``where`` is the dotted place in the file, for messages. Raises KerasOrthoError for an unknown key (with a
    did-you-mean), a missing required key or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise _wrong(where, "a mapping of keys to values", values)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for key in values:
        if key not in fields:
            raise KerasOrthoError(
                f'Unknown key "{cut(_join(where, key))}".{did_you_mean(str(key), fields)} '
                f"Known here: {', '.join(fields)}."
            )
    missing = [name for name, field in fields.items() if _required(field) and name not in values]
    if missing:
        raise KerasOrthoError(f'Missing key "{_join(where, missing[0])}": it has no default and must be set.')
    return cls(**{key: convert(hints[key], value, _join(where, key)) for key, value in values.items()})


def convert(kind: Any, value: Any, where: str) -> Any:
    """Return ``value`` as the annotated type ``kind``; numbers may widen from int to float, lists become tuples."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(repr(a) for a in arguments)
            hint = did_you_mean(str(value), [a for a in arguments if isinstance(a, str)])
            raise KerasOrthoError(f'"{where}" must be one of {allowed}. Received: {echo(value)}.{hint}')
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else build(kind, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a mapping", value)
        item = arguments[1] if len(arguments) == 2 else Any
        return {str(key): convert(item, entry, _join(where, str(key))) for key, entry in value.items()}
    return _convert_scalar(kind, value, where)


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    problems = []
    for kind in (k for k in kinds if k is not type(None)):
        try:
            return convert(kind, value, where)
        except KerasOrthoError as problem:
            problems.append(problem)
    raise problems[0]


def _convert_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(where, "a list", value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(convert(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(kinds):
        raise _wrong(where, f"a list of {len(kinds)} values", value)
    return tuple(convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text (in quotes, if it looks like a number or like yes or no)",
}


def _convert_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return _listed(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text: it wants 1.0e-4
        try:
            return float(value)
        except ValueError:
            raise _wrong(where, _NAMES[float], value) from None
    if kind in _NAMES and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _wrong(where, _NAMES.get(kind, str(kind)), value)


def _listed(value: Any) -> Any:
    """Tuples become lists where no type is given: YAML and JSON know lists only, and a file must read back equal."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _wrong(where: str, wanted: str, value: Any) -> WrongKindError:
    place = f'"{where}"' if where else "The configuration"
    return WrongKindError(f"{place} must be {wanted}. Received: {echo(value)}.", where)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)
