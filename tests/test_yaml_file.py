"""Reading YAML: strictly, and with mistakes told by file and line."""

from __future__ import annotations

import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.yaml_file import read_yaml, require_configuration_file


def test_what_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, x]\nb:\n  c: null\n")
    require_configuration_file(path)
    assert read_yaml(path) == {"a": [1, "x"], "b": {"c": None}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a:\n  b: 1\n\tc: 2\n", "line 3 is indented with a tab; use spaces"),
        (b"a: b: c\n", "line 1, column 5: mapping values are not allowed here"),
        (b"a: 1\nb: 2\na: 3\n", "line 3, column 1: a is set twice"),
        (b"a: \x01", "special characters are not allowed, position 3"),
    ],
)
def test_mistakes_are_told_by_line(tmp_path, content, problem):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(KerasOrthoError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path} is not valid YAML: ") and problem in str(caught.value)
    assert "unicode string" not in str(caught.value)


def test_files_that_are_no_configuration(tmp_path):
    (tmp_path / "bone.yaml").touch()
    (tmp_path / "bones.csv").touch()
    for name, words in [
        ("bones.yaml", 'Did you mean "bone.yaml"\\? In that folder: bone.yaml'),
        ("", "is a folder.*In that folder: bone.yaml"),
        ("bones.csv", "looks like a manifest.*--set data.manifest="),
    ]:
        with pytest.raises(KerasOrthoError, match=words):
            require_configuration_file(tmp_path / name)
