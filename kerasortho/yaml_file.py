"""Reading YAML strictly: no code, no key twice, and mistakes told by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kerasortho.errors import KerasOrthoError, did_you_mean


def require_configuration_file(file: Path) -> None:
    """Raise KerasOrthoError where ``file`` is not there, a folder, or a manifest."""
    folder = file if file.is_dir() else file.parent
    nearby = sorted(p.name for p in folder.glob("*.yaml")) if folder.is_dir() else []
    listing = f" In that folder: {', '.join(nearby)}." if nearby else ""
    if file.is_dir():
        raise KerasOrthoError(f"{file} is a folder, not a configuration file. Name a YAML file.{listing}")
    if not file.exists():
        raise KerasOrthoError(f"There is no configuration file {file}.{did_you_mean(file.name, nearby)}{listing}")
    if file.suffix.lower() in (".csv", ".tsv"):
        raise KerasOrthoError(
            f"{file} looks like a manifest, not like a configuration (YAML). Name a recipe, and give the manifest with "
            f"--set data.manifest={file}."
        )


def read_yaml(file: Path) -> Any:
    """Return the content of a YAML file. Raises KerasOrthoError where it cannot be read, or is not valid YAML."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise KerasOrthoError(f"Cannot read the configuration file {file}: {reason}.") from None
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise KerasOrthoError(f"{file} is not valid YAML: {_problem(error, text)}.") from None


def _problem(error: yaml.YAMLError, text: str) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None:
        return " ".join(str(error).split()).replace(' in "<unicode string>"', "")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f"line {mark.line + 1} is indented with a tab; use spaces"
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"  # type: ignore[attr-defined]


class _StrictLoader(yaml.SafeLoader):
    """YAML that runs no code and takes no key twice: of two sections of one name, the first would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(problem=f"{name} is set twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
