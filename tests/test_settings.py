"""Settings: what they must look like, and where their values go."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.settings import check_settings, parse_setting, plain, set_key


@pytest.mark.parametrize(
    "settings", [{"data.manifest": "a.csv"}, "data.manifest=a.csv", [("data.manifest", "a.csv")], [Path("a=b")]]
)
def test_settings_are_a_list_of_texts(settings):
    with pytest.raises(KerasOrthoError, match='Settings are a list of texts "key=value"'):
        check_settings(settings)


def test_any_iterable_of_texts_will_do():
    assert check_settings(text for text in ("a=1", "b=")) == ["a=1", "b="]
    for wrong in ("a", "=1", " =1"):
        with pytest.raises(KerasOrthoError, match="--set wants KEY=VALUE"):
            check_settings(["b=1", wrong])


def test_values_are_yaml():
    assert parse_setting(" a.b =[1, x]") == ("a.b", [1, "x"])
    assert parse_setting("a=b=c") == ("a", "b=c") and parse_setting("a=") == ("a", None)
    with pytest.raises(KerasOrthoError, match=r"--set a: '\[xx.* \.\.\. is not a YAML value"):
        parse_setting("a=[" + "x" * 500)


def test_places():
    values = {"a": {"b": [{"c": 1}, {"c": 2}]}}
    copy = plain(values)
    set_key(values, "a.b.1.c", 3)
    set_key(values, "new.place", 4)
    assert values == {"a": {"b": [{"c": 1}, {"c": 3}]}, "new": {"place": 4}}
    assert copy == {"a": {"b": [{"c": 1}, {"c": 2}]}}
    for key, why in [("a.b.2.c", "a.b has 2 entries, counted from 0"), ("a.b.x", "a.b has 2"), ("a.b.0.c.d", "")]:
        with pytest.raises(KerasOrthoError, match=rf"--set {key}: there is no such place in the config.*{why}"):
            set_key(values, key, 5)
