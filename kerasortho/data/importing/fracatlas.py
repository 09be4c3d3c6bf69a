"""From the published FracAtlas archive to a manifest with region, limb and fracture masks.

FracAtlas: Abedeen et al., Scientific Data 10, 521 (2023), doi:10.1038/s41597-023-02432-4, CC BY 4.0.

The rules. ``region`` joins the flags hand, leg, hip, shoulder; ``label`` is the region where there is one, else empty.
``limb`` is upper (hand, shoulder) or lower (hip, leg); images with both are excluded, and so are unreadable files.
Fracture masks come from the COCO polygons; unfractured images get masks of zeros. Where flags and polygons contradict
each other, or polygons do not fit the image, the mask is left empty and ``mask_note`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.image_files import require_folder, search_folder
from kerasortho.data.importing.annotated_images import AnnotatedImage, draw_masks
from kerasortho.data.importing.coco import mark, read_coco
from kerasortho.data.importing.importers import (
    Imported,
    PathLike,
    cell_for,
    finish_import,
    new_output,
)
from kerasortho.data.inspection import reason
from kerasortho.data.manifest import Manifest, read_csv_rows, shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_radiograph

LIMB = {"hand": "upper", "shoulder": "upper", "hip": "lower", "leg": "lower"}
COCO_FILE = "Annotations/COCO JSON/COCO_fracture_masks.json"
PUBLISHED_SPLIT = {"train": "train", "valid": "val", "test": "test"}
_FLAGS = (*LIMB, "mixed", "hardware", "multiscan", "fractured", "fracture_count", "frontal", "lateral", "oblique")

Row = dict[str, str]


@dataclass(frozen=True)
class Drawn:
    """What came of one image: why it cannot be read, why it has no mask, what was noticed (each '' if nothing)."""

    unreadable: str = ""
    mask_note: str = ""
    remark: str = ""


def import_fracatlas(
    folder: PathLike,
    output: PathLike,
    *,
    published_split: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    what: str = "",
) -> Imported:
    """Write a manifest of a FracAtlas folder, and its fracture masks into ``<output name>-masks`` beside it.

    Args:
        folder: the unpacked archive, the folder of ``dataset.csv``.
        output: the manifest to write.
        published_split: fill the column split from the archive's own files (fractured images only; they leak).
        overwrite: replace ``output`` if it exists.
        processes: how many processes read images and draw masks.
        what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: a file of the archive is missing or not as published, or ``output`` exists.
    """
    root, target = require_folder(folder), new_output(output, overwrite)
    _require_archive(root)
    listed, outlines = _read_dataset_csv(root), _read_outlines(root)
    files = _images_by_name(root)
    splits = _read_published_split(root) if published_split else None
    masks = target.parent / f"{target.stem}-masks"
    names = [name for name in listed if name in files]
    if not names:
        raise KerasOrthoError(f"None of the images of {root / 'dataset.csv'} is in {root / 'images'}.")
    jobs = [
        (
            files[name],
            masks / f"{Path(name).stem}.png",
            _contradiction(listed[name], outlines.get(name)),
            outlines.get(name),
        )
        for name in names
    ]
    drawn = parallel_map(_draw, jobs, processes=processes, what=what)
    rows = [
        _row(cell_for(job[0], target), cell_for(job[1], target), result, listed[name])
        | ({} if splits is None else {"split": splits.get(name, "")})
        for name, job, result in zip(names, jobs, drawn, strict=True)
    ]
    notes = _notes(listed, files, outlines, dict(zip(names, drawn, strict=True)), rows)
    return finish_import(target, tuple(rows[0]), rows, notes)


def _row(image: str, mask: str, result: Drawn, flags: Row) -> Row:
    """Return the manifest's row of one image."""
    labels = _labels(flags)
    return {
        "image": image,
        "mask": "" if result.unreadable or result.mask_note else mask,
        **labels,
        "mask_note": result.mask_note,
        "exclude": f"unreadable: {result.unreadable}" if result.unreadable else _unusable_limb(labels),
        **{flag: flags[flag] for flag in _FLAGS},
    }


def _images_by_name(root: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in search_folder(require_folder(root / "images")).images:
        if file.name in files:
            raise KerasOrthoError(
                f"{files[file.name]} and {file} have the same name, which dataset.csv cannot tell apart."
            )
        files[file.name] = file
    return files


def _require_archive(root: Path) -> None:
    if not (root / "dataset.csv").is_file():
        within = next((f' Did you mean "{found.parent}"?' for found in sorted(root.glob("*/dataset.csv"))), "")
        raise KerasOrthoError(f"{root} is not the FracAtlas folder: dataset.csv is missing.{within}")


def _read_outlines(root: Path) -> dict[str, AnnotatedImage]:
    """Return the fracture polygons by image name; they were drawn on the view that obeys the EXIF orientation."""
    if not (root / COCO_FILE).is_file():
        raise KerasOrthoError(f"{root / COCO_FILE} is missing. It is a part of the FracAtlas archive.")
    coco = read_coco(root / COCO_FILE)
    return {image.name: image for image in mark(coco, coco.annotations)}


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


def _read_published_split(root: Path) -> dict[str, str]:
    folder = root / "Utilities" / "Fracture Split"
    return {
        row["image_id"]: split
        for file, split in PUBLISHED_SPLIT.items()
        for row in read_csv_rows(folder / f"{file}.csv")[1]
    }


def _contradiction(flags: Mapping[str, str], outline: AnnotatedImage | None) -> str:
    """Return how dataset.csv and the polygons contradict each other, '' if they do not."""
    count = len(outline.marked) if outline else 0
    if flags["fractured"] != "0" and not count:
        return "contradiction: fractured, but without polygon"
    if flags["fractured"] == "0" and count:
        return f"contradiction: not fractured, but with {count} polygon{'s' if count > 1 else ''}"
    return ""


def _draw(job: tuple[Path, Path, str, AnnotatedImage | None]) -> Drawn:
    """Read one image and write its fracture mask."""
    file, target, contradiction, outline = job
    try:
        radiograph = read_radiograph(file)
    except KerasOrthoError as error:
        return Drawn(unreadable=reason(error, file))
    if contradiction:
        return Drawn(mask_note=contradiction)
    height, width = radiograph.pixels.shape
    orientation = int(radiograph.tags.get("exif_orientation") or 1)
    masks = draw_masks(outline or AnnotatedImage(file.name, None), (height, width), orientation, "upright")
    if not masks.problem:
        write_png(target, masks.mask)
    return Drawn(mask_note=masks.problem, remark=masks.remark)


def _labels(flags: Mapping[str, str]) -> Row:
    regions = [name for name in LIMB if flags[name] != "0"]
    limbs = {LIMB[name] for name in regions}
    return {
        "label": regions[0] if len(regions) == 1 else "",
        "region": "+".join(regions),
        "limb": limbs.pop() if len(limbs) == 1 else "",
    }


def _unusable_limb(labels: Mapping[str, str]) -> str:
    if labels["limb"]:
        return ""
    return "mixed: upper and lower limb" if labels["region"] else "no region flag set"


def _notes(
    listed: Mapping[str, Row],
    files: Mapping[str, Path],
    outlines: Mapping[str, AnnotatedImage],
    drawn: Mapping[str, Drawn],
    rows: Sequence[Row],
) -> list[str]:
    """Return everything worth telling, each with its count and the first few images."""
    counted = [
        name
        for name in drawn
        if int(listed[name]["fracture_count"]) != len(outlines[name].marked if name in outlines else ())
    ]
    findings = {
        "Images of dataset.csv without a file, left out": [name for name in listed if name not in files],
        "Image files not in dataset.csv, left out": [name for name in files if name not in listed],
        "Annotated images not in dataset.csv": [name for name in outlines if name not in listed],
        "Unreadable files, excluded": [name for name, result in drawn.items() if result.unreadable],
        "Images of upper and lower limb, excluded": [
            Path(row["image"]).name for row in rows if row["exclude"].startswith("mixed")
        ],
        "Images without a region flag, excluded": [
            Path(row["image"]).name for row in rows if row["exclude"].startswith("no region")
        ],
        "Images with another number of polygons than fracture_count": counted,
    }
    notes = [f"{what}: {len(names)} ({shorten(names)})." for what, names in findings.items() if names]
    notes += [
        f"{name} gets no fracture mask: {result.mask_note}." for name, result in drawn.items() if result.mask_note
    ]
    notes += [f"{name}: {result.remark}." for name, result in drawn.items() if result.remark]
    return notes
