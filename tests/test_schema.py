"""Plain data becomes dataclasses strictly: what does not fit is refused, with its place and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.schema import build


@dataclass(frozen=True)
class Inner:
    rate: float
    kind: Literal["min", "max"] = "min"


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    name: str | None = None
    on: bool = False
    pair: tuple[int, int] = (1, 2)
    steps: tuple[Inner, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def outer(**values: Any) -> Outer:
    return build(Outer, {"count": 1, "inner": {"rate": 0.5}, **values})


def test_everything_has_the_annotated_type():
    made = outer(
        count=3,
        inner={"rate": 1, "kind": "max"},
        name="a",
        on=True,
        pair=[3, 4],
        steps=[{"rate": "1e-4"}],
        options={"filters": (1, [2])},
        where={"side": ["left"]},
    )
    assert made == Outer(
        3, Inner(1.0, "max"), "a", True, (3, 4), (Inner(1e-4),), {"filters": [1, [2]]}, {"side": ("left",)}
    )
    assert isinstance(made.inner.rate, float)  # a whole number widens
    assert isinstance(made.pair, tuple) and isinstance(made.where["side"], tuple)


def test_defaults_and_none():
    assert outer(name=None) == Outer(1, Inner(0.5))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"coutn": 1}, ['Unknown key "coutn"', 'Did you mean "count"?', "Known here: count, inner"]),
        ({"x" * 1000: 1}, ['Unknown key "xxx', ' ...".']),
        ({"inner": {"rate": 1, "knid": "min"}}, ['"inner.knid"', 'Did you mean "kind"?']),
        ({"inner": {}}, ['Missing key "inner.rate"']),
        ({"inner": 3}, ['"inner" must be a mapping', "Received: 3"]),
        ({"inner": None}, ['"inner" must be a mapping', "Received: None"]),
        ({"inner": {"rate": 1, "kind": "mix"}}, ["'min', 'max'", "'mix'", 'Did you mean "min"?']),
        ({"inner": {"rate": "fast"}}, ['"inner.rate" must be a number', "'fast'"]),
        ({"inner": {"rate": True}}, ['"inner.rate" must be a number', "True"]),
        ({"count": 1.0}, ['"count" must be a whole number', "1.0"]),
        ({"count": "1"}, ['"count" must be a whole number', "'1'"]),
        ({"count": True}, ['"count" must be a whole number', "True"]),
        ({"count": None}, ['"count" must be a whole number', "None"]),
        ({"on": 1}, ['"on" must be true or false']),
        ({"name": 5}, ['"name" must be text (in quotes', "Received: 5"]),
        ({"pair": 3}, ['"pair" must be a list', "3"]),
        ({"pair": [1, 2, 3]}, ['"pair" must be a list of 2 values']),
        ({"pair": [1, "a"]}, ['"pair[1]" must be a whole number']),
        ({"steps": [{"rate": 1}, {}]}, ['Missing key "steps[1].rate"']),
        ({"options": [1]}, ['"options" must be a mapping']),
        ({"where": {"side": "left"}}, ['"where.side" must be a list', "'left'"]),
        ({"where": {"side": [True]}}, ['"where.side[0]" must be text (in quotes']),
    ],
)
def test_what_does_not_fit_is_named(values, words):
    with pytest.raises(KerasOrthoError) as caught:
        outer(**values)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_only_a_mapping_can_be_built_from(values):
    with pytest.raises(KerasOrthoError, match="The configuration must be a mapping"):
        build(Outer, values)
