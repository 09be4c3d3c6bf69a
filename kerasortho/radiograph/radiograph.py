"""One radiograph in memory, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A grey image on one scale, with what is known of its geometry and source.

    pixels: (H, W) float32 in [0, 1], bone bright, read-only.
    spacing_mm: (row, column) distance between pixel centres in mm, or None where it is unknown.
    spacing_source: the attribute that the spacing comes from, e.g. "ImagerPixelSpacing"; None where it is unknown.
    tags: facts about the source, never about the person: format, bits, photometric, modality, body_part,
        view_position, window, exif_orientation, warnings (a tuple of sentences), ...
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None = None
    spacing_source: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.size == 0:
            raise ValueError(f"pixels must be (H, W) with at least one pixel. Received shape: {self.pixels.shape}")
        pixels = np.ascontiguousarray(self.pixels, dtype=np.float32).view()
        pixels.flags.writeable = False
        object.__setattr__(self, "pixels", pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Stay read-only on the way to another process."""
        return Radiograph, (self.pixels, self.spacing_mm, self.spacing_source, self.tags)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the result should know about the file, one sentence each."""
        return tuple(self.tags.get("warnings", ()))
