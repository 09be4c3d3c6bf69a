"""From masks of several classes to a manifest with masks of one: chosen values or colours are marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kerasortho.data.image_files import require_folder
from kerasortho.data.importing.importers import Imported, PathLike, cell_for, finish_import, new_output
from kerasortho.data.importing.label_choice import LabelChoice, LabelFacts, choose_labels, parse_labels
from kerasortho.data.importing.mask_files import new_folder, png_names
from kerasortho.data.importing.pairing import find_pairs
from kerasortho.data.inspection import reason
from kerasortho.data.manifest import shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.label_image import read_label_image
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.words import counted


@dataclass(frozen=True)
class LabelJob:
    """One image with its labels (None: it has none): the files to read, what to mark, and the files to write."""

    image: Path
    labels: Path | None
    choice: LabelChoice
    mask: Path
    ignore: Path


@dataclass(frozen=True)
class Written:
    """What came of one image: why it is excluded, the masks written, further cells of its row, what was noticed."""

    problem: str = ""
    mask: Path | None = None
    ignore: Path | None = None
    cells: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


def import_labels(
    images: PathLike,
    masks: PathLike,
    output: PathLike,
    *,
    foreground: Sequence[str] = (),
    ignore_value: Sequence[str] = (),
    skip_unmatched: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    what: str = "",
) -> Imported:
    """Write a manifest of images and label masks of the same names, and binary masks beside it.

    Args:
        images, masks: folders, see `find_pairs`. Masks hold grey values, a palette (its numbers count), or colours.
        output: the manifest to write; the binary masks go into ``<output name>-masks``.
        foreground: values (``1,2``) or colours (``#ff0000``) to mark; none: the only one beside 0 or black.
        ignore_value: values or colours of doubtful pixels, that count in no loss and no score.
        skip_unmatched: leave out images without a mask, instead of refusing.
        overwrite: replace ``output`` and its masks.
        processes: how many processes read and write. what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: as `find_pairs` and `choose_labels`; no mask that can be used; ``output`` exists.
    """
    target = new_output(output, overwrite)
    wanted, doubtful = parse_labels(foreground, "--foreground"), parse_labels(ignore_value, "--ignore-value")
    mask_folder, ignore_folder = (new_folder(target, kind, overwrite) for kind in ("masks", "ignore"))
    pairs = find_pairs(images, masks, skip_unmatched=skip_unmatched, written=(mask_folder, ignore_folder))
    files = list(pairs.image_of.values())
    labels = [pairs.mask_of[stem] for stem in pairs.image_of]
    facts = parallel_map(look_at, labels, processes=processes, what=what and f"{what}: looking")
    if all(item.problem for item in facts):
        raise KerasOrthoError(f"No mask in {masks} can be used. {labels[0].name}: {facts[0].problem}")
    choice = choose_labels(dict(zip(labels, facts, strict=True)), wanted, doubtful, masks)
    root = require_folder(images)
    mask_of, ignore_of = png_names(files, root, mask_folder), png_names(files, root, ignore_folder)
    jobs = [
        LabelJob(file, label, choice, mask_of[file], ignore_of[file]) for file, label in zip(files, labels, strict=True)
    ]
    written = parallel_map(write_masks, jobs, processes=processes, what=what and f"{what}: writing")
    return finish_labels(target, dict(zip(files, written, strict=True)), [*pairs.notes, describe_choice(choice)])


def look_at(file: Path) -> LabelFacts:
    """Read one label file and return what it holds."""
    try:
        image = read_label_image(file)
    except KerasOrthoError as error:
        return LabelFacts(problem=reason(error, file))
    pixels = image.count()
    return LabelFacts(image.kind, pixels, {code: image.colour(code) for code in pixels})


def write_masks(job: LabelJob) -> Written:
    """Read one image and its labels, and write its masks."""
    try:
        shape = read_radiograph(job.image).pixels.shape
    except KerasOrthoError as error:
        return Written(f"unreadable: {reason(error, job.image)}")
    if job.labels is None:
        return Written()
    try:
        labels = read_label_image(job.labels)
    except KerasOrthoError as error:
        return Written(f"mask: {reason(error, job.labels)}")
    mask, ignore = job.choice.masks(labels)
    return save_masks(mask, ignore, shape, job.mask, job.ignore)


def save_masks(
    mask: np.ndarray, ignore: np.ndarray, shape: tuple[int, ...], mask_file: Path, ignore_file: Path
) -> Written:
    """Write (H, W) bool masks if they have the ``shape`` of their image; that of doubtful pixels if there are any."""
    if mask.shape != shape:
        sizes = [f"{height}x{width}" for width, height in (mask.shape, shape)]
        return Written(f"mask: it has {sizes[0]} pixels, but the image has {sizes[1]}")
    write_png(mask_file, mask)
    if not ignore.any():
        return Written(mask=mask_file)
    write_png(ignore_file, ignore)
    return Written(mask=mask_file, ignore=ignore_file)


def finish_labels(target: Path, results: Mapping[Path, Written], notes: Sequence[str]) -> Imported:
    """Write the manifest of images with label masks, and tell in the notes which are excluded.

    Raises KerasOrthoError if all are.
    """
    first, written = next(iter(results.items()))
    if all(result.problem for result in results.values()):
        raise KerasOrthoError(f"No image can be used. {first.name}: {written.problem}")
    cells = tuple(dict.fromkeys(name for result in results.values() for name in result.cells))
    doubtful = ("ignore",) if any(result.ignore for result in results.values()) else ()
    rows = [
        {
            "image": cell_for(image, target),
            "mask": cell_for(result.mask, target) if result.mask else "",
            "ignore": cell_for(result.ignore, target) if result.ignore else "",
            **{name: result.cells.get(name, "") for name in cells},
            "exclude": result.problem,
        }
        for image, result in results.items()
    ]
    excluded = [f"{image.name} ({result.problem})" for image, result in results.items() if result.problem]
    told = [f"Excluded: {counted(len(excluded), 'image')}: {shorten(excluded)}."] if excluded else []
    remarks: dict[str, list[str]] = defaultdict(list)
    for image, result in results.items():
        if result.remark:
            remarks[result.remark].append(image.name)
    told += [f"Noticed, {remark}: {len(names)} ({shorten(names)})." for remark, names in remarks.items()]
    return finish_import(target, ("image", "mask", *doubtful, *cells, "exclude"), rows, [*notes, *told])


def describe_choice(choice: LabelChoice) -> str:
    """Return a sentence on what is marked."""
    ignored = f", doubtful: {', '.join(sorted(choice.ignore))}" if choice.ignore else ""
    return f"Marked: {', '.join(sorted(choice.foreground))}{ignored}; everything else is background."
