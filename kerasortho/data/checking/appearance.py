"""How each image looks, from one reading: its lettering, and what tells of exposure and origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasortho.data.checking.exposure import Exposure, measure_exposure
from kerasortho.data.checking.text_detection import Lettering, find_lettering
from kerasortho.data.checking.traits import measure_traits
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import Manifest
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import decode_radiograph


@dataclass(frozen=True)
class Appearance:
    """What the deep checks want to know of one image."""

    lettering: tuple[Lettering, ...]
    traits: np.ndarray  # see `measure_traits`
    exposure: Exposure


def look_at_manifest(
    manifest: Manifest, inspections: Sequence[Inspection | None], *, processes: int = 1, what: str = ""
) -> list[Appearance | None]:
    """Return how the image of every row looks, None for those that are excluded or cannot be read."""
    used = [index for index, item in enumerate(inspections) if item is not None and not item.problem]
    files = [manifest.resolve(manifest.rows[index], "image") for index in used]
    results = parallel_map(look_at, [file for file in files if file], processes=processes, what=what)
    found: list[Appearance | None] = [None] * len(manifest.rows)
    for index, result in zip(used, results, strict=True):
        found[index] = result
    return found


def look_at(file: Path) -> Appearance | None:
    """Return how an image looks; None if it cannot be read (any more)."""
    try:
        data = file.read_bytes()
        pixels = decode_radiograph(data, name=str(file)).pixels
    except (KerasOrthoError, OSError):
        return None
    return Appearance(tuple(find_lettering(pixels)), measure_traits(pixels, data), measure_exposure(pixels))
