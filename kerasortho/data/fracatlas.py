"""From the published FracAtlas archive to a manifest with region, limb and fracture masks.

FracAtlas: Abedeen et al., Scientific Data 10, 521 (2023), doi:10.1038/s41597-023-02432-4, CC BY 4.0.

The rules. ``region`` joins the flags hand, leg, hip, shoulder; ``label`` is the region where there is one flag only, else empty.
``limb`` is upper (hand, shoulder) or lower (hip, leg); images with both are excluded. Unreadable files are excluded with the reason.
Fracture masks come from the COCO polygons; unfractured images get masks of zeros. Where flags and polygons contradict each other,
or polygons do not fit the image, the mask is left empty and ``mask_note`` says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasortho.data.importers import Imported, PathLike, cell_for, find_images, finish_import, new_output, require_folder
from kerasortho.data.inspection import reason
from kerasortho.data.manifest import Manifest, read_csv_rows, shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.data.polygons import SIDES_SWAPPED, fill_polygon, to_stored_pixels
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_radiograph

LIMB = {"hand": "upper", "shoulder": "upper", "hip": "lower", "leg": "lower"}
COCO_FILE = "Annotations/COCO JSON/COCO_fracture_masks.json"
PUBLISHED_SPLIT = {"train": "train", "valid": "val", "test": "test"}
_FLAGS = (*LIMB, "mixed", "hardware", "multiscan", "fractured", "fracture_count", "frontal", "lateral", "oblique")
_OUTSIDE_PX = 1.0

Row = dict[str, str]


@dataclass(frozen=True)
class Outline:
    """The fracture polygons of one image, and the size (H, W) of the view they were drawn on."""

    shape: tuple[int, int]
    polygons: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Drawn:
    """What came of one image: why it cannot be read, why it has no mask, what was noticed (each '' if nothing)."""

    unreadable: str = ""
    mask_note: str = ""
    remark: str = ""


def import_fracatlas(
    folder: PathLike, output: PathLike, *, published_split: bool = False, overwrite: bool = False, processes: int = 1, what: str = ""
) -> Imported:
    """Write a manifest of a FracAtlas folder, and its fracture masks into ``<output name>-masks`` beside it.

    Args:
        folder: the unpacked archive, the folder of ``dataset.csv``.
        output: the manifest to write.
        published_split: fill the column split from the archive's own files (fractured images only; it is known to leak).
        overwrite: replace ``output`` if it exists.
        processes: how many processes read images and draw masks.
        what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: a file of the archive is missing or not as published, or ``output`` exists.
    """
    root, target = require_folder(folder), new_output(output, overwrite)
    listed = _read_dataset_csv(root)
    files = {file.name: file for file in find_images(require_folder(root / "images"))}
    outlines = _read_coco(root / COCO_FILE)
    masks = target.parent / f"{target.stem}-masks"
    names = [name for name in listed if name in files]
    jobs = [(files[name], masks / f"{Path(name).stem}.png", _claim(listed[name], outlines.get(name)), outlines.get(name)) for name in names]
    drawn = parallel_map(_draw, jobs, processes=processes, what=what)
    splits = _read_published_split(root) if published_split else {}
    rows = []
    for name, (file, mask, _, _), result in zip(names, jobs, drawn, strict=True):
        row = {"image": cell_for(file, target), "mask": "" if result.unreadable or result.mask_note else cell_for(mask, target)}
        row |= _labels(listed[name]) | {"mask_note": result.mask_note}
        row["exclude"] = f"unreadable: {result.unreadable}" if result.unreadable else _mixed_limbs(row)
        rows.append(row | ({"split": splits.get(name, "")} if published_split else {}) | {flag: listed[name][flag] for flag in _FLAGS})
    notes = _notes(listed, files, outlines, dict(zip(names, drawn, strict=True)), rows)
    return finish_import(target, tuple(rows[0]), rows, notes)


def _read_dataset_csv(root: Path) -> dict[str, Row]:
    source = root / "dataset.csv"
    columns, rows = read_csv_rows(source)
    for name in ("image_id", *_FLAGS):
        Manifest(source, columns, ()).require_column(name)
    wrong = next((row for row in rows if any(not row[flag].isdigit() for flag in _FLAGS)), None)
    if wrong:
        raise KerasOrthoError(f"{source}: the flags of {wrong['image_id']} must be whole numbers. Received: {wrong}")
    if not rows:
        raise KerasOrthoError(f"{source} lists no image.")
    return {row["image_id"]: row for row in rows}


def _read_coco(path: Path) -> dict[str, Outline]:
    """Return the polygons by image file name. Raises KerasOrthoError for a missing or malformed file."""
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
        polygons: dict[int, list[np.ndarray]] = {entry["id"]: [] for entry in coco["images"]}
        for annotation in coco["annotations"]:
            rings = annotation["segmentation"]
            if not isinstance(rings, list):
                raise KerasOrthoError(f"{path}: annotation {annotation['id']} is run-length coded. Polygons are needed.")
            polygons[annotation["image_id"]] += [np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings]
        return {
            entry["file_name"]: Outline((entry["height"], entry["width"]), tuple(polygons[entry["id"]])) for entry in coco["images"]
        }
    except OSError as error:
        raise KerasOrthoError(f"Cannot read {path}: {error.strerror}. It is part of the FracAtlas archive.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KerasOrthoError(f"{path} is not a COCO file of polygons: {type(error).__name__} {error}.") from error


def _read_published_split(root: Path) -> dict[str, str]:
    folder = root / "Utilities" / "Fracture Split"
    return {row["image_id"]: split for file, split in PUBLISHED_SPLIT.items() for row in read_csv_rows(folder / f"{file}.csv")[1]}


def _claim(flags: Mapping[str, str], outline: Outline | None) -> str:
    """Return how dataset.csv and the polygons contradict each other, '' if they do not."""
    count = len(outline.polygons) if outline else 0
    if flags["fractured"] != "0" and not count:
        return "contradiction: fractured, but without polygon"
    if flags["fractured"] == "0" and count:
        return f"contradiction: not fractured, but with {count} polygon{'s' if count > 1 else ''}"
    return ""


def _draw(job: tuple[Path, Path, str, Outline | None]) -> Drawn:
    """Read one image and write its fracture mask."""
    file, target, contradiction, outline = job
    try:
        radiograph = read_radiograph(file)
    except KerasOrthoError as error:
        return Drawn(unreadable=reason(error, file))
    if contradiction:
        return Drawn(mask_note=contradiction)
    mask, problem, remark = fracture_mask(outline, radiograph.pixels.shape, int(radiograph.tags.get("exif_orientation") or 1))
    if not problem:
        write_png(target, mask * np.uint8(255))
    return Drawn(mask_note=problem, remark=remark)


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


def _labels(flags: Mapping[str, str]) -> Row:
    regions = [name for name in LIMB if flags[name] != "0"]
    limbs = {LIMB[name] for name in regions}
    return {
        "label": regions[0] if len(regions) == 1 else "",
        "region": "+".join(regions),
        "limb": limbs.pop() if len(limbs) == 1 else "",
    }


def _mixed_limbs(row: Mapping[str, str]) -> str:
    if row["limb"]:
        return ""
    return "mixed: upper and lower limb" if row["region"] else "no region flag set"


def _notes(
    listed: Mapping[str, Row], files: Mapping[str, Path], outlines: Mapping[str, Outline], drawn: Mapping[str, Drawn], rows: list[Any]
) -> list[str]:
    """Return everything worth telling, each with its count and the first few images."""
    counted = [name for name in drawn if int(listed[name]["fracture_count"]) != len(outlines[name].polygons if name in outlines else ())]
    findings = {
        "images of dataset.csv have no file and are left out": [name for name in listed if name not in files],
        "image files are not in dataset.csv and are left out": [name for name in files if name not in listed],
        "annotated images are not in dataset.csv": [name for name in outlines if name not in listed],
        "unreadable files are excluded": [name for name, result in drawn.items() if result.unreadable],
        "images show upper and lower limb and are excluded": [Path(row["image"]).name for row in rows if row["exclude"].startswith("mixed")],
        "images have no region flag and are excluded": [Path(row["image"]).name for row in rows if row["exclude"].startswith("no region")],
        "images have another number of polygons than fracture_count": counted,
    }
    notes = [f"{len(names)} {what}: {shorten(names)}." for what, names in findings.items() if names]
    notes += [f"{name} gets no fracture mask: {result.mask_note}." for name, result in drawn.items() if result.mask_note]
    notes += [f"{name}: {result.remark}." for name, result in drawn.items() if result.remark]
    return notes
