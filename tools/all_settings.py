"""Print every key of a recipe with its default and what it means, from the dataclasses that define them.

    python tools/all_settings.py > configs/all-settings.yaml
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from kerasortho.config import Config, Phase
from kerasortho.settings import plain

HEAD = """\
# Every key of a recipe, with its default and what it means. A recipe names only what it changes; a key left out has the
# value that stands here, but for those marked "required". As a whole it trains the paper's network of 31 million
# parameters: for a first try copy demo-bone.yaml. With one phase, --set training.epochs=5 sets its epochs.
# Made by tools/all_settings.py: change kerasortho/config.py.
"""
EXAMPLES = {  # of what has no default
    "name": "all-settings",
    "task": "segmentation",
    "manifest": "data/bones.csv",
    "model.name": "unet",
    "epochs": 60,
}


def section(kind: type, indent: int, path: str = "") -> Iterator[str]:
    """Yield the lines of one dataclass, ``indent`` spaces deep; ``path`` is the key of the section."""
    comments = dict(re.findall(r"^    (\w+): [^#\n]*?(?:  # (.*))?$", inspect.getsource(kind), re.MULTILINE))
    hints, blanks = get_type_hints(kind), " " * indent
    for field in dataclasses.fields(kind):
        hint, comment = hints[field.name], comments[field.name]
        if hint == tuple[Phase, ...]:
            first, *others = section(Phase, indent + 4)
            yield f"{blanks}{field.name}: # {comment}"
            yield f"{blanks}  - {first.lstrip()}"
            yield from others
        elif dataclasses.is_dataclass(hint):
            yield f"{blanks}{field.name}:" + (f" # {comment}" if comment else "")
            yield from section(hint, indent + 2, field.name)
        else:
            value, required = _default(field, path)
            choices = " or ".join(str(word) for word in get_args(hint)) if get_origin(hint) is Literal else ""
            notes = "; ".join(note for note in ("required" if required else "", comment, choices) if note)
            yield f"{blanks}{field.name}: {_yaml(value)} # {notes.replace('None:', 'null:')}"


def _default(field: dataclasses.Field[Any], path: str) -> tuple[Any, bool]:
    """Return the default of a field, or else an example, and whether it is one."""
    if field.default is not dataclasses.MISSING:
        return plain(field.default), False
    if field.default_factory is not dataclasses.MISSING:
        return plain(field.default_factory()), False
    return EXAMPLES.get(f"{path}.{field.name}", EXAMPLES.get(field.name)), True


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


if __name__ == "__main__":
    print(HEAD + "\n".join(section(Config, 0)))
