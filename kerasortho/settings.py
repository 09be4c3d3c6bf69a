"""Settings such as ``training.batch_size=8``, that change plain data before it becomes a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted, echo


def check_settings(settings: Iterable[str]) -> list[str]:
    """Return ``settings`` as a list. Raises KerasOrthoError unless they are texts of the kind KEY=VALUE."""
    listed = [] if isinstance(settings, str | Mapping) else list(settings)
    if isinstance(settings, str | Mapping) or not all(isinstance(setting, str) for setting in listed):
        raise KerasOrthoError(
            'Settings are a list of texts "key=value", such as ["training.batch_size=8", "data.manifest=bones.csv"]. '
            f"Received: {echo(settings)}."
        )
    for setting in listed:
        if not setting.partition("=")[0].strip() or "=" not in setting:
            raise KerasOrthoError(f"--set wants KEY=VALUE, such as training.batch_size=8. Received: {echo(setting)}.")
    return listed


def parse_setting(setting: str) -> tuple[str, Any]:
    """Return key and value (read as YAML) of a setting. Raises KerasOrthoError for a value that is no YAML."""
    key, _, text = setting.partition("=")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        raise KerasOrthoError(f"--set {key}: {echo(text)} is not a YAML value; quote it if it is text.") from None


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Put ``value`` in its place in ``values``; ``a.0.b`` reaches into a list.

    Raises KerasOrthoError if there is no such place.
    """
    place: Any = values
    done: list[str] = []
    *parents, last = key.split(".")
    try:
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
            done.append(part)
        place[int(last) if isinstance(place, list) else last] = value
    except (IndexError, ValueError, AttributeError, TypeError):
        why = ""
        if isinstance(place, list):
            why = f": {'.'.join(done)} has {counted(len(place), 'entry', 'entries')}, counted from 0"
        raise KerasOrthoError(f"--set {key}: there is no such place in the configuration{why}.") from None


def plain(value: Any) -> Any:
    """Return ``value`` as dicts, lists and scalars only, copied."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
