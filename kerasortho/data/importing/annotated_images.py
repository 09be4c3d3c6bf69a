"""What was marked on one image, in whatever format, and the mask that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kerasortho.data.importing import run_lengths
from kerasortho.data.importing.polygons import SIDES_SWAPPED, fill_ellipse, fill_polygon, to_stored_mask
from kerasortho.errors import KerasOrthoError

_OUTSIDE_PX = 1.0  # what an outline may reach over the edge of its image

Shape = tuple[int, int]
View = Literal["stored", "upright"]


@dataclass(frozen=True)
class Polygon:
    """A closed outline: ``points`` (V, 2) float, x to the right and y down in px, the first corner at (0, 0)."""

    points: np.ndarray


@dataclass(frozen=True)
class Ellipse:
    """An ellipse, in px and radians as `fill_ellipse` takes them."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0


@dataclass(frozen=True)
class RunLengths:
    """A mask of ``shape`` (H, W) as run lengths, see `run_lengths`."""

    shape: Shape
    counts: tuple[int, ...]


Part = Polygon | Ellipse | RunLengths


@dataclass(frozen=True)
class Marked:
    """One thing marked on an image, in one or more parts.

    doubtful: its pixels are to count in no loss and no score. problem: why no mask can be made of it; '' if one can.
    """

    parts: tuple[Part, ...]
    doubtful: bool = False
    problem: str = ""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image as an annotation file names it, and all that is marked on it.

    shape: the size (H, W) that the annotation file gives, or None. file_bytes: the size of the image's file when it was
    annotated, or None.
    """

    name: str
    shape: Shape | None
    marked: tuple[Marked, ...] = ()
    file_bytes: int | None = None


@dataclass(frozen=True)
class Masks:
    """What came of one image's annotations.

    mask, ignore: (H, W) bool, at the stored size. problem: why they must not be used, '' if they may.
    remark: what was noticed, or ''.
    """

    mask: np.ndarray
    ignore: np.ndarray
    problem: str = ""
    remark: str = ""


def draw_masks(image: AnnotatedImage, shape: Shape, orientation: int, view: View | None = None) -> Masks:
    """Draw what is marked on an image.

    Args:
        image: what is marked.
        shape: (H, W) of the stored pixels.
        orientation: EXIF orientation of the file, 1 to 8.
        view: whether outlines were drawn on the stored pixels, or on the upright view that obeys the orientation; None:
            what the size given with them tells.
    """
    empty = Masks(np.zeros(shape, bool), np.zeros(shape, bool))
    upright = shape[::-1] if orientation in SIDES_SWAPPED else shape
    turned = _is_turned(image, shape, orientation, view)
    if turned is None and image.marked:
        return replace(
            empty,
            problem=f"EXIF orientation {orientation} turns it in some programs, and nothing tells "
            "whether it was turned when it was annotated",
        )
    frame = upright if turned else shape
    if image.shape is not None and image.shape != frame:
        return replace(empty, problem=f"annotated at {_size(image.shape)} pixels, but the image has {_size(frame)}")
    mask, ignore = np.zeros(frame, bool), np.zeros(frame, bool)
    dropped = 0
    for marked in image.marked:
        problem, without_pixels = _add(marked, ignore if marked.doubtful else mask)
        if problem:
            return replace(empty, problem=problem)
        dropped += without_pixels
    remarks = [f"{dropped} outline{'s' if dropped > 1 else ''} of several parts without any pixel"] if dropped else []
    if turned and orientation != 1 and image.marked:
        remarks.append(f"polygons turned back from EXIF orientation {orientation}")
        mask, ignore = to_stored_mask(mask, orientation), to_stored_mask(ignore, orientation)
    elif turned:
        mask, ignore = empty.mask, empty.ignore
    return Masks(mask, ignore, remark=", ".join(remarks))


def _is_turned(image: AnnotatedImage, shape: Shape, orientation: int, view: View | None) -> bool | None:
    """Tell whether outlines are drawn on the upright view; None if that is not known and makes a difference."""
    if orientation == 1:
        return False
    if view is not None:
        return view == "upright"
    if orientation in SIDES_SWAPPED and image.shape is not None and shape[0] != shape[1]:
        return image.shape == shape[::-1]
    return None


def _add(marked: Marked, mask: np.ndarray) -> tuple[str, int]:
    """Draw one thing into a mask; return why that is impossible, or '', and how many parts have no pixels."""
    if marked.problem:
        return marked.problem, 0
    filled, without_pixels = np.zeros_like(mask), 0
    for part in marked.parts:
        problem = _misfit(part, mask.shape)
        if problem:
            return problem, 0
        try:
            drawn = _fill(part, mask.shape)
        except KerasOrthoError as error:
            return str(error), 0
        without_pixels += not drawn.any()
        filled |= drawn
    if not filled.any():
        return f"{_noun(marked.parts)} that covers no pixel", 0
    mask |= filled
    return "", without_pixels


def _misfit(part: Part, shape: tuple[int, ...]) -> str:
    """Return why an outline cannot be drawn on an image of ``shape``, '' if it can."""
    if isinstance(part, RunLengths):
        different = part.shape != shape
        return f"run lengths for {_size(part.shape)} pixels, but the image has {_size(shape)}" if different else ""
    if isinstance(part, Polygon):
        if len(part.points) < 3:
            return f"polygon with {len(part.points)} corner{'s' if len(part.points) != 1 else ''}"
        low, high = part.points.min(axis=0), part.points.max(axis=0)
    else:
        if min(part.radii) <= 0:
            return "ellipse without size"
        turn = np.array([np.cos(part.angle), np.sin(part.angle)])
        reach = np.hypot(part.radii[0] * turn, part.radii[1] * turn[::-1])
        low, high = part.centre - reach, part.centre + reach
    if not np.isfinite([low, high]).all():
        return f"{_noun((part,))} with a coordinate that is no number"
    if low.min() < -_OUTSIDE_PX or (high > np.array(shape[::-1]) + _OUTSIDE_PX).any():
        return f"{_noun((part,))} reaches outside the image of {_size(shape)} pixels"
    return ""


def _fill(part: Part, shape: tuple[int, ...]) -> np.ndarray:
    size = (shape[0], shape[1])
    if isinstance(part, RunLengths):
        return run_lengths.decode(part.counts, size)
    if isinstance(part, Polygon):
        return fill_polygon(part.points, size)
    return fill_ellipse(part.centre, part.radii, part.angle, size)


def _noun(parts: tuple[Part, ...]) -> str:
    kinds = {Polygon: "polygon", Ellipse: "ellipse", RunLengths: "mask of run lengths"}
    return kinds[type(parts[0])] if parts else "outline"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
