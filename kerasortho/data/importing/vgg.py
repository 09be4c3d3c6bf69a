"""From a file of the VGG Image Annotator (VIA 1 and 2) to a manifest with masks.

The program: Dutta and Zisserman, "The VIA Annotation Software for Images, Audio and Video", ACM Multimedia 2019.
Its project files (with ``_via_img_metadata``) and its JSON exports are read, with regions as a list or, as before
version 2, as a dictionary.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasortho.data.importing.annotated_images import AnnotatedImage, Ellipse, Marked, Part, Polygon
from kerasortho.data.importing.annotation_import import ASK, AnnotationOptions, import_annotated
from kerasortho.data.importing.choices import choose
from kerasortho.data.importing.importers import Imported, PathLike
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted, echo

WITHOUT_ATTRIBUTE = "(none)"
"""What `--attribute` and the list of attributes call a region that has none."""


@dataclass(frozen=True)
class Region:
    """One region: its attributes as ``NAME=VALUE``, and what it marks."""

    attributes: tuple[str, ...]
    marked: Marked


@dataclass(frozen=True)
class ViaImage:
    """One image of a VIA file: its name, the size of its file when it was annotated, or None, and its regions."""

    name: str
    file_bytes: int | None
    regions: tuple[Region, ...]


def import_vgg(
    annotations: PathLike,
    images: PathLike,
    output: PathLike,
    *,
    attributes: Sequence[str] = (),
    options: AnnotationOptions = ASK,
) -> Imported:
    """Write a manifest of the images of a VIA file, and masks of its polygons, rectangles, circles and ellipses.

    A file of the annotator does not tell the size of the images. It tells the size of their files, and those that
    have another one now are told in a note.

    Args:
        annotations: the JSON file.
        images: the folder of the images, searched with its sub-folders for the names in the file.
        output: the manifest to write; see `import_annotated` for the masks.
        attributes: regions with one of these, each written ``NAME=VALUE``, are marked; none: all, if all have the same.
        options: see `AnnotationOptions`.

    Raises:
        KerasOrthoError: no VIA file, regions of several kinds and none chosen, and what `import_annotated` raises.
    """
    listed = read_via(annotations)
    chosen = _choose(listed, attributes, annotations)
    annotated = [
        AnnotatedImage(
            image.name,
            None,
            tuple(r.marked for r in image.regions if chosen is None or chosen & set(r.attributes)),
            image.file_bytes,
        )
        for image in listed
    ]
    return import_annotated(annotated, images, output, source=annotations, options=options)


def read_via(path: PathLike) -> list[ViaImage]:
    """Read a VIA file. Raises KerasOrthoError for a missing or malformed one; the message names the entry."""
    entry: Any = None
    try:
        data = json.loads(Path(path).read_bytes())
        if "project" in data and "metadata" in data:
            raise KerasOrthoError(f"{path} is a project of VIA 3. Export it as COCO, or annotate images with VIA 2.")
        images = []
        for entry in data.get("_via_img_metadata", data).values():
            if not isinstance(entry["filename"], str):
                raise TypeError("filename must be text")
            size = entry.get("size")
            regions = entry.get("regions") or ()
            listed = list(regions.values() if isinstance(regions, dict) else regions)
            images.append(
                ViaImage(
                    entry["filename"],
                    int(size) if isinstance(size, int) and size > 0 else None,
                    tuple(_region(number, region) for number, region in enumerate(listed)),
                )
            )
        return images
    except OSError as error:
        raise KerasOrthoError(f"Cannot read {path}: {error.strerror or error}. Name the JSON file of VIA.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = f" The entry: {echo(entry)}." if entry is not None else ""
        raise KerasOrthoError(
            f"{path} is not a file of the VGG Image Annotator: {type(error).__name__} {error}.{where}"
        ) from error


def _choose(images: Iterable[ViaImage], wanted: Sequence[str], source: PathLike) -> set[str] | None:
    """Return the attributes whose regions are marked; None for all regions."""
    kinds = Counter(region.attributes for image in images for region in image.regions)
    if not kinds:
        raise KerasOrthoError(f"{source} has no regions: there is nothing to mark.")
    if len(kinds) == 1 and not wanted:
        return None
    numbers: Counter[str] = Counter()
    for attributes, number in kinds.items():
        for attribute in attributes:
            numbers[attribute] += number
    available = {name: counted(number, "region") for name, number in sorted(numbers.items())}
    return set(choose(available, wanted, source=source, what="kinds of regions", option="--attribute NAME=VALUE"))


def _region(number: int, region: Mapping[str, Any]) -> Region:
    shape = region["shape_attributes"]
    attributes = region.get("region_attributes") or {}
    names = sorted(f"{name}={value}" for name, content in attributes.items() for value in _values(content))
    part = _part(shape)
    problem = "" if part else f"region {number + 1} is a {shape['name']}, which has no area"
    return Region(tuple(names) or (WITHOUT_ATTRIBUTE,), Marked((part,) if part else (), problem=problem))


def _values(content: object) -> list[str]:
    """Return the values of an attribute: the ticked ones of a checkbox, else what was written or chosen."""
    if isinstance(content, dict):
        return [name for name, ticked in content.items() if ticked]
    text = str(content).strip()
    return [text] if text else []


def _part(shape: Mapping[str, Any]) -> Part | None:
    """Return a region's outline; None for a kind that has no area."""
    kind = shape["name"]
    if kind == "polygon":
        points = np.array([shape["all_points_x"], shape["all_points_y"]], np.float64)
        return Polygon(points.T)
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return Polygon(np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]))
    if kind == "circle":
        return Ellipse((float(shape["cx"]), float(shape["cy"])), (float(shape["r"]), float(shape["r"])))
    if kind == "ellipse":
        radii = (float(shape["rx"]), float(shape["ry"]))
        return Ellipse((float(shape["cx"]), float(shape["cy"])), radii, float(shape.get("theta") or 0.0))
    return None
