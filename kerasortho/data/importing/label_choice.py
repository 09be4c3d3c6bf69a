"""Which classes of label masks are marked and which are doubtful, when files may hold values, palettes or colours."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasortho.data.importing.choices import choose
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.label_image import LabelImage
from kerasortho.words import counted, echo

_COLOUR = re.compile("#[0-9a-f]{6}")


@dataclass(frozen=True)
class LabelFacts:
    """What one label file holds: its kind, and the pixels and the colour of each code; or a problem."""

    kind: str = ""
    pixels: Mapping[int, int] | None = None
    colours: Mapping[int, str] | None = None
    problem: str = ""

    def names(self, by_colour: bool) -> dict[str, int]:
        """Return the pixels by the names of the codes: numbers, or colours."""
        found: Counter[str] = Counter()
        for code, number in (self.pixels or {}).items():
            found[(self.colours or {})[code] if by_colour else str(code)] += number
        return dict(found)


@dataclass(frozen=True)
class LabelChoice:
    """The classes to mark and the doubtful ones, as values or, where ``by_colour``, as colours such as ``#ff0000``."""

    foreground: frozenset[str]
    ignore: frozenset[str] = frozenset()
    by_colour: bool = False

    def masks(self, image: LabelImage) -> tuple[np.ndarray, np.ndarray]:
        """Return the (H, W) bool masks of what is marked and of what is doubtful."""
        codes = image.count()
        named = {code: image.colour(code) if self.by_colour else str(code) for code in codes}

        def where(chosen: frozenset[str]) -> np.ndarray:
            return np.isin(image.codes, [code for code, name in named.items() if name in chosen])

        return where(self.foreground), where(self.ignore)


def parse_labels(texts: Iterable[str], option: str) -> tuple[str, ...]:
    """Return the values or colours that an option lists, separated by commas.

    Raises KerasOrthoError for anything but whole numbers and colours such as ``#ff0000``.
    """
    found = []
    for text in (part.strip().lower() for listed in texts for part in listed.split(",")):
        if not _COLOUR.fullmatch(text) and not (text.isascii() and text.isdigit()):
            raise KerasOrthoError(
                f"{option} takes values such as 1,2 or colours such as #ff0000. Received: {echo(text)}."
            )
        found.append(text if text.startswith("#") else str(int(text)))
    return tuple(dict.fromkeys(found))


def choose_labels(
    facts: Mapping[Path, LabelFacts], foreground: Sequence[str], ignore: Sequence[str], source: object
) -> LabelChoice:
    """Return which classes are marked, from what the user says and what the files hold.

    Args:
        facts: what the files hold.
        foreground: values or colours to mark; none: the only one there is beside background (0, black).
        ignore: values or colours of doubtful pixels.
        source: the folder, for messages.

    Raises:
        KerasOrthoError: several classes and none chosen, a class that no file has, values asked for where there are
            colours, numbers that mean another colour in another file.
    """
    usable = {file: item for file, item in facts.items() if not item.problem}
    asked = {text.startswith("#") for text in (*foreground, *ignore)}
    if len(asked) > 1:
        raise KerasOrthoError("Choose classes by values or by colours, not by both.")
    coloured = next((file for file, item in usable.items() if item.kind == "colour"), None)
    by_colour = asked == {True} or (not asked and coloured is not None)
    if coloured is not None and not by_colour:
        raise KerasOrthoError(f"{coloured.name} holds colours and no values. Choose colours: {_listed(usable, True)}.")
    if not by_colour:
        _refuse_other_palettes(usable)
    available = _available(usable, by_colour)
    choose(available, ignore, source=source, what="values", option="--ignore-value") if ignore else None
    background = "#000000" if by_colour else "0"
    rest = {name: words for name, words in available.items() if name not in ignore}
    if not foreground and len(rest) == 2 and background in rest:
        rest.pop(background)
    elif not foreground and set(rest) == {background}:
        raise KerasOrthoError(f"All masks of {source} are empty: they hold {background} alone.")
    return LabelChoice(
        frozenset(choose(rest, foreground, source=source, what="values", option="--foreground")),
        frozenset(ignore),
        by_colour,
    )


def _available(facts: Mapping[Path, LabelFacts], by_colour: bool) -> dict[str, str]:
    """Return every class with the numbers of its files and pixels in words, in order."""
    files: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    for item in facts.values():
        names = item.names(by_colour)
        files.update(names.keys())
        pixels.update(names)
    order = sorted(files) if by_colour else sorted(files, key=int)
    return {name: f"{counted(files[name], 'file')}, {counted(pixels[name], 'pixel')}" for name in order}


def _listed(facts: Mapping[Path, LabelFacts], by_colour: bool) -> str:
    return ", ".join(f"{name} ({words})" for name, words in _available(facts, by_colour).items())


def _refuse_other_palettes(facts: Mapping[Path, LabelFacts]) -> None:
    """Raise KerasOrthoError where one number of a palette has different colours: it means different things."""
    first: dict[int, dict[str, str]] = defaultdict(dict)
    for file, item in facts.items():
        if item.kind == "palette":
            for code, colour in (item.colours or {}).items():
                first[code].setdefault(colour, file.name)
                if len(first[code]) > 1:
                    (one, here), (other, there) = list(first[code].items())[:2]
                    raise KerasOrthoError(
                        f"Palette entry {code} is {one} in {here} and {other} in {there}. Choose classes by colour "
                        f"with --foreground '#...'. There are: {_listed(facts, True)}."
                    )
