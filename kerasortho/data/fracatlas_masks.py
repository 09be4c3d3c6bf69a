"""FracAtlas' fracture polygons: reading its COCO file, and drawing masks on the pixels as they are stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasortho.data.polygons import SIDES_SWAPPED, fill_polygon, to_stored_pixels
from kerasortho.errors import KerasOrthoError

_OUTSIDE_PX = 1.0  # what a polygon may reach over the edge of its image


@dataclass(frozen=True)
class Outline:
    """The fracture polygons of one image, and the size (H, W) of the view they were drawn on."""

    shape: tuple[int, int]
    polygons: tuple[np.ndarray, ...]


def read_outlines(path: Path) -> dict[str, Outline]:
    """Return the polygons by image file name. Raises KerasOrthoError for a missing or malformed file."""
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
        polygons: dict[int, list[np.ndarray]] = {entry["id"]: [] for entry in coco["images"]}
        for annotation in coco["annotations"]:
            rings = annotation["segmentation"]
            if not isinstance(rings, list):
                raise KerasOrthoError(
                    f"{path}: annotation {annotation['id']} is run-length coded. Polygons are needed."
                )
            polygons[annotation["image_id"]] += [np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings]
        return {
            entry["file_name"]: Outline((entry["height"], entry["width"]), tuple(polygons[entry["id"]]))
            for entry in coco["images"]
        }
    except OSError as error:
        raise KerasOrthoError(f"Cannot read {path}: {error.strerror}. It is part of the FracAtlas archive.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KerasOrthoError(f"{path} is not a COCO file of polygons: {type(error).__name__} {error}.") from error


def fracture_mask(outline: Outline | None, shape: tuple[int, ...], orientation: int) -> tuple[np.ndarray, str, str]:
    """Draw the polygons of one image on its stored pixels.

    They were drawn on the view that obeys the EXIF orientation, and are turned back with it.

    Args:
        outline: the polygons, None for no fracture.
        shape: (H, W) of the stored pixels.
        orientation: EXIF orientation, 1 to 8.

    Returns:
        (H, W) uint8 mask in {0, 1}; why it must not be used, or ''; what was noticed, or ''.
    """
    mask = np.zeros((shape[0], shape[1]), np.uint8)
    if outline is None:
        return mask, "", ""
    view = mask.shape[::-1] if orientation in SIDES_SWAPPED else mask.shape
    if outline.shape != view:
        return mask, f"annotated at {_size(outline.shape)} pixels, but the image has {_size(view)}", ""
    for points in outline.polygons:
        if len(points) < 3:
            return mask, f"polygon with {len(points)} corners", ""
        if points.min() < -_OUTSIDE_PX or (points.max(axis=0) > np.array(view[::-1]) + _OUTSIDE_PX).any():
            return mask, f"polygon reaches outside the image of {_size(view)} pixels", ""
        filled = fill_polygon(to_stored_pixels(points, orientation, mask.shape), mask.shape)
        if not filled.any():
            return mask, "polygon that covers no pixel", ""
        mask |= filled
    return mask, "", "" if orientation == 1 else f"polygons turned back from EXIF orientation {orientation}"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
