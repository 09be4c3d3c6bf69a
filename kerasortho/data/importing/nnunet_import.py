"""From a dataset of nnU-Net to a manifest with binary masks; NIfTI pictures become PNG files beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kerasortho.data.image_files import require_folder
from kerasortho.data.importing.choices import choose
from kerasortho.data.importing.importers import Imported, PathLike, new_output
from kerasortho.data.importing.label_choice import LabelChoice
from kerasortho.data.importing.label_import import (
    LabelJob,
    Written,
    describe_choice,
    finish_labels,
    save_masks,
    write_masks,
)
from kerasortho.data.importing.mask_files import new_folder
from kerasortho.data.importing.nifti import NIFTI_SUFFIXES, NiftiHeader, Orientation, read_nifti, read_nifti_header
from kerasortho.data.importing.nnunet import Case, NnunetDataset, find_cases, read_dataset_json, read_splits
from kerasortho.data.inspection import reason
from kerasortho.data.manifest import shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.label_image import LabelImage, read_label_image
from kerasortho.radiograph.raster import write_png
from kerasortho.words import counted


@dataclass(frozen=True)
class _NnunetJob:
    """One case to be read: its files, the values that its labels may hold, and, for NIfTI, the picture to write."""

    files: LabelJob
    values: frozenset[int]
    picture: Path | None
    orientation: Orientation


def import_nnunet(
    folder: PathLike,
    output: PathLike,
    *,
    labels: Sequence[str] = (),
    splits: PathLike | None = None,
    orientation: Orientation | None = None,
    skip_unmatched: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    what: str = "",
) -> Imported:
    """Write a manifest of a dataset of nnU-Net (version 2, one channel), and binary masks beside it.

    Images of imagesTs get the split ``test``. NIfTI pictures are written as PNG into ``<output name>-images``, with
    their spacing in columns row_spacing_mm and column_spacing_mm.

    Args:
        folder: the dataset, the folder of dataset.json.
        output: the manifest to write; the masks go into ``<output name>-masks``.
        labels: labels or regions of dataset.json to mark; none: the only one that there is.
        splits: a splits_final.json: one entry fills the column split, several fill the column fold.
        orientation: how NIfTI pictures are taken that lie otherwise than they are looked at: see `read_nifti`; None
            refuses them.
        skip_unmatched: leave out images of imagesTr without labels, instead of refusing.
        overwrite: replace ``output`` and what was written beside it.
        processes: how many processes read and write. what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: no such dataset, several channels, several labels and none chosen, pictures that do not lie
            upright and no orientation given, and what the functions named here raise.
    """
    root, target = require_folder(folder), new_output(output, overwrite)
    dataset = read_dataset_json(root)
    folders = {kind: new_folder(target, kind, overwrite) for kind in ("masks", "ignore", "images")}
    available = {name: f"value {_listed(values)}" for name, values in dataset.labels.items()}
    chosen = choose(available, labels, source=root / "dataset.json", what="labels", option="--label")
    marked = {value for name in chosen for value in dataset.labels[name]}
    choice = LabelChoice(frozenset(map(str, marked)), frozenset(map(str, dataset.ignore)))
    cases, notes = find_cases(root, dataset.ending, skip_unmatched=skip_unmatched)
    parts, told = read_splits(Path(splits), {case.name for case in cases if not case.test}) if splits else ({}, [])
    is_nifti = dataset.ending in NIFTI_SUFFIXES
    if is_nifti and orientation is None:
        _refuse_turned(cases, processes)
    jobs = [_job(case, choice, dataset, folders, orientation or "stored") for case in cases]
    done = parallel_map(_write, jobs, processes=processes, what=what)
    tests = any(case.test for case in cases)
    results = {
        _picture(job, result): replace(result, cells={**result.cells, **_split_cells(case, parts, tests)})
        for case, job, result in zip(cases, jobs, done, strict=True)
    }
    if is_nifti:
        notes.append(f"NIfTI pictures are written as PNG to {folders['images']}.")
    return finish_labels(target, results, [*notes, *told, describe_choice(choice)])


def _job(
    case: Case, choice: LabelChoice, dataset: NnunetDataset, folders: Mapping[str, Path], orientation: Orientation
) -> _NnunetJob:
    name = f"{case.name}.png"
    files = LabelJob(case.image, case.labels, choice, folders["masks"] / name, folders["ignore"] / name)
    picture = folders["images"] / name if dataset.ending in NIFTI_SUFFIXES else None
    return _NnunetJob(files, dataset.values, picture, orientation)


def _picture(job: _NnunetJob, result: Written) -> Path:
    return job.files.image if result.problem or job.picture is None else job.picture


def _split_cells(case: Case, parts: Mapping[str, tuple[str, str]], tests: bool) -> dict[str, str]:
    """Return the cells of split and fold of a case, each if something tells it of any case."""
    split, fold = ("test", "") if case.test else parts.get(case.name, ("", ""))
    has_split = tests or any(part[0] for part in parts.values())
    has_fold = any(part[1] for part in parts.values())
    return {**({"split": split} if has_split else {}), **({"fold": fold} if has_fold else {})}


def _write(job: _NnunetJob) -> Written:
    """Read one case and write its masks and, of NIfTI, its picture."""
    if job.picture is not None:
        return _write_nifti(job, job.picture)
    if job.files.labels is not None:
        try:
            strange = _strange(np.array(list(read_label_image(job.files.labels).count())), job.values)
        except KerasOrthoError as error:
            return Written(f"mask: {reason(error, job.files.labels)}")
        if strange:
            return Written(strange)
    return write_masks(job.files)


def _write_nifti(job: _NnunetJob, picture: Path) -> Written:
    try:
        values, header = read_nifti(job.files.image, job.orientation)
        if not np.isfinite(values).all():
            return Written("unreadable: values that are no numbers")
    except KerasOrthoError as error:
        return Written(f"unreadable: {reason(error, job.files.image)}")
    written = Written()
    if job.files.labels is not None:
        try:
            codes, of_labels = read_nifti(job.files.labels, job.orientation)
        except KerasOrthoError as error:
            return Written(f"mask: {reason(error, job.files.labels)}")
        problem = _strange(np.unique(codes), job.values)
        if not problem and header.directions != of_labels.directions:
            lies = [found.directions or "unknown" for found in (of_labels, header)]
            problem = f"mask: it lies {lies[0]}, but the image {lies[1]}"
        if problem:
            return Written(problem)
        mask, ignore = job.files.choice.masks(LabelImage(codes.astype(np.uint16), "grey"))
        written = save_masks(mask, ignore, values.shape, job.files.mask, job.files.ignore)
        if written.problem:
            return written
    grey, stretched = _to_grey(values)
    write_png(picture, grey)
    remark = "values stretched to 0-65535, for they are no whole numbers in that range" if stretched else ""
    return replace(written, cells=_spacing_cells(header), remark=remark)


def _strange(present: np.ndarray, known: frozenset[int]) -> str:
    """Return that labels hold values which dataset.json does not name, '' if they do not."""
    strange = [f"{value:g}" for value in present.tolist() if value not in known]
    return f"mask: it holds {shorten(strange)}, which dataset.json does not name" if strange else ""


def _to_grey(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return (H, W) values as uint8 or uint16, and whether they had to be stretched for it."""
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind in "iu" or bool((values == np.floor(values)).all())
    if whole and low >= 0 and high <= 65535:
        return values.astype(np.uint8 if high <= 255 else np.uint16), False
    scale = 65535 / (high - low) if high > low else 0.0
    return np.rint((values.astype(np.float64) - low) * scale).astype(np.uint16), True


def _spacing_cells(header: NiftiHeader) -> dict[str, str]:
    row, column = (f"{side:g}" for side in header.spacing_mm) if header.spacing_mm else ("", "")
    return {"row_spacing_mm": row, "column_spacing_mm": column}


def _refuse_turned(cases: Sequence[Case], processes: int) -> None:
    """Raise KerasOrthoError where pictures lie otherwise than they are looked at: rows may be columns, left right."""
    found = parallel_map(_directions, [case.image for case in cases], processes=processes)
    turned = [(case, directions) for case, directions in zip(cases, found, strict=True) if directions]
    if turned:
        kinds = ", ".join(f"{name} {number}" for name, number in Counter(kind for _, kind in turned).most_common())
        raise KerasOrthoError(
            f"{counted(len(turned), 'picture')} of {len(cases)} may lie turned or mirrored ({turned[0][0].image.name}; "
            f"columns and rows lead to {kinds}). Take them as they are stored, as nnU-Net does, with --orientation "
            "stored, or turn them upright by their affine with --orientation affine."
        )


def _directions(file: Path) -> str:
    """Return where columns and rows lead if that is not upright, '' otherwise and for files that cannot be read."""
    try:
        header = read_nifti_header(file)
    except KerasOrthoError:
        return ""
    return "" if header.plain else header.directions


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
