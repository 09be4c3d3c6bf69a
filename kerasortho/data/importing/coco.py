"""From a COCO file of instance annotations to a manifest with masks.

The format: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and cocodataset.org/#format-data.
Polygons are drawn by one rule for all of kerasortho: the pixels whose centre is inside.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kerasortho.data.importing import run_lengths
from kerasortho.data.importing.annotated_images import AnnotatedImage, Marked, Part, Polygon, RunLengths
from kerasortho.data.importing.annotation_import import ASK, AnnotationOptions, import_annotated
from kerasortho.data.importing.choices import choose
from kerasortho.data.importing.importers import Imported, PathLike
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted, echo

Crowd = Literal["mask", "ignore"]


@dataclass(frozen=True)
class Annotation:
    """One annotation: on which image, of which category, whether it is a crowd of things, and what it marks."""

    image: object
    category: str
    crowd: bool
    marked: Marked


@dataclass(frozen=True)
class CocoFile:
    """The images of a COCO file by their id (nothing marked yet), its categories in order, and its annotations."""

    images: Mapping[object, AnnotatedImage]
    categories: tuple[str, ...]
    annotations: tuple[Annotation, ...]


def import_coco(
    annotations: PathLike,
    images: PathLike,
    output: PathLike,
    *,
    categories: Sequence[str] = (),
    crowd: Crowd | None = None,
    options: AnnotationOptions = ASK,
) -> Imported:
    """Write a manifest of the images of a COCO file, and masks of its polygons and run lengths beside it.

    Args:
        annotations: the JSON file.
        images: the folder of the images, searched with its sub-folders for the names in the file.
        output: the manifest to write; see `import_annotated` for the masks.
        categories: names of the categories to mark; none: the only one that there is.
        crowd: whether regions marked ``iscrowd`` belong to the mask, or are doubtful pixels; None refuses them.
        options: see `AnnotationOptions`.

    Raises:
        KerasOrthoError: no COCO file, several categories and none chosen, crowds and no word on them, and what
            `import_annotated` raises.
    """
    coco = read_coco(annotations)
    number_of = Counter(annotation.category for annotation in coco.annotations)
    available = {name: counted(number_of[name], "annotation") for name in coco.categories}
    chosen = choose(available, categories, source=annotations, what="categories", option="--category")
    used = [annotation for annotation in coco.annotations if annotation.category in chosen]
    crowds = sum(annotation.crowd for annotation in used)
    if crowds and crowd is None:
        raise KerasOrthoError(
            f"{annotations} has {counted(crowds, 'region')} of several things each (iscrowd). Make them a part of the "
            "mask with --crowd mask, or pixels that count in no loss and no score with --crowd ignore."
        )
    stray = sum(annotation.image not in coco.images for annotation in used)
    notes = [f"Annotations of images that {annotations} does not list, left out: {stray}."] if stray else []
    return import_annotated(
        mark(coco, used, doubtful_crowds=crowd == "ignore"),
        images,
        output,
        source=annotations,
        options=options,
        notes=notes,
    )


def mark(coco: CocoFile, used: Sequence[Annotation], *, doubtful_crowds: bool = False) -> list[AnnotatedImage]:
    """Return the images of a COCO file with the annotations that are used."""
    marked: dict[object, list[Marked]] = defaultdict(list)
    for annotation in used:
        doubtful = annotation.crowd and doubtful_crowds
        marked[annotation.image].append(
            Marked(annotation.marked.parts, doubtful=doubtful, problem=annotation.marked.problem)
        )
    return [AnnotatedImage(image.name, image.shape, tuple(marked[number])) for number, image in coco.images.items()]


def read_coco(path: PathLike) -> CocoFile:
    """Read a COCO file. Raises KerasOrthoError for a missing or malformed one; the message names the entry."""
    entry: Any = None
    try:
        data = json.loads(Path(path).read_bytes())
        images: dict[object, AnnotatedImage] = {}
        for entry in data["images"]:
            if entry["id"] in images:
                raise KerasOrthoError(f"{path} has two images with the id {echo(entry['id'])}.")
            images[entry["id"]] = AnnotatedImage(_text(entry["file_name"]), _shape(entry))
        names: dict[object, str] = {}
        for entry in data.get("categories") or ():
            names[entry["id"]] = _text(entry["name"])
        annotations = []
        for entry in data["annotations"]:
            category = entry["category_id"] if names else entry.get("category_id", "unnamed")
            if names and category not in names:
                raise KerasOrthoError(
                    f"{path}: annotation {echo(entry.get('id'))} has the category_id {echo(category)}, "
                    "which is not among its categories."
                )
            annotations.append(
                Annotation(
                    entry["image_id"],
                    names.get(category, f"category {category}"),
                    bool(entry.get("iscrowd")),
                    _marked(entry),
                )
            )
    except OSError as error:
        raise KerasOrthoError(f"Cannot read {path}: {error.strerror or error}. Name the COCO file.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        where = f" The entry: {echo(entry)}." if entry is not None else ""
        raise KerasOrthoError(
            f"{path} is not a COCO file of instance annotations: {type(error).__name__} {error}.{where}"
        ) from error
    used = {annotation.category: None for annotation in annotations}
    return CocoFile(images, tuple(dict.fromkeys(names.values()) if names else used), tuple(annotations))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a name must be text. Received: {echo(value)}")
    return value


def _shape(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the size (H, W) that a COCO file gives, None where it gives none."""
    height, width = entry.get("height"), entry.get("width")
    return (int(height), int(width)) if height and width else None


def _marked(entry: Mapping[str, Any]) -> Marked:
    """Return what one annotation marks; damaged run lengths are a problem of its image, not of the file."""
    segmentation = entry.get("segmentation")
    number = echo(entry.get("id"))
    if not segmentation:
        return Marked((), problem=f"annotation {number} has no outline")
    try:
        if isinstance(segmentation, dict):
            return Marked((_run_lengths(segmentation),))
        return Marked(tuple(_polygon(ring) for ring in segmentation))
    except KerasOrthoError as error:
        return Marked((), problem=f"annotation {number}: {error}")


def _polygon(ring: Sequence[float]) -> Part:
    values = np.asarray(ring, np.float64)
    if values.ndim != 1 or values.size % 2:
        raise KerasOrthoError(f"its polygon is no list of x, y, x, y, ... Received: {echo(ring)}")
    return Polygon(values.reshape(-1, 2))


def _run_lengths(value: Mapping[str, Any]) -> Part:
    height, width = (int(side) for side in value["size"])
    counts = value["counts"]
    numbers = run_lengths.unpack(counts) if isinstance(counts, str) else [int(count) for count in counts]
    return RunLengths((height, width), tuple(numbers))
