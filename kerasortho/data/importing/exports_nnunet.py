"""From a manifest to a dataset of nnU-Net: the layout that `nnunet` describes, as PNG files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kerasortho.data.importing.exports_cases import ExportCase, cases_of, describe_left_out, load_case
from kerasortho.data.importing.nnunet import IGNORE
from kerasortho.data.manifest import Manifest, read_manifest, relative_cell, write_manifest
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.files import atomic_folder, require_writable, write_json
from kerasortho.radiograph.raster import write_png

CASES = "cases.csv"
_DATASET = re.compile(r"Dataset\d{3}_.+")

Parts = Literal["split", "fold"]


@dataclass(frozen=True)
class Exported:
    """What was written where, with how many images, and what was noticed, in sentences."""

    path: Path
    images: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """One case to be written: its name, and whether it goes to imagesTs."""

    case: ExportCase
    name: str
    test: bool
    folder: Path


def export_nnunet(
    source: str | Path,
    folder: str | Path,
    *,
    label: str = "foreground",
    by: Parts | None = None,
    processes: int = 1,
    what: str = "",
) -> Exported:
    """Write the images and masks of a manifest as a dataset of nnU-Net, whole or not at all.

    Images become PNG of 8 bits, or 16 where they have more; masks 0 and 1, doubtful pixels 2 (nnU-Net's label ignore).
    Images of the split ``test`` go to imagesTs, their masks to labelsTs. ``splits_final.json`` has the folds, or train
    and val as one fold. ``cases.csv`` tells which case was which image.

    Args:
        source: the manifest.
        folder: the dataset to write, such as ``Dataset501_Bones``; new or empty.
        label: what the mask marks, for dataset.json.
        by: which column tells the parts, if the manifest has values in both.
        processes: how many processes read and write. what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: no image with a mask, both split and fold and no word on which counts, or a folder with files.
    """
    manifest, target = read_manifest(source), Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise KerasOrthoError(f"{target} exists and is not empty. Name a new folder, or remove that one.")
    require_writable(target.parent)
    if label in (IGNORE, "background") or not label:
        raise KerasOrthoError(f'The label cannot be called "{label}": nnU-Net means something else by it.')
    column = _column_of_parts(manifest, by)
    left_out: Counter[str] = Counter()
    cases = [case for case in cases_of(manifest, left_out) if _is_wanted(case, column, left_out)]
    with atomic_folder(target) as temporary:
        digits = max(5, len(str(len(cases))))
        jobs = [
            _Job(case, f"case_{number:0{digits}d}", column == "split" and case.row["split"] == "test", temporary)
            for number, case in enumerate(cases, 1)
        ]
        results = parallel_map(_write, jobs, processes=processes, what=what)
        written = [(job, doubtful) for job, (problem, doubtful) in zip(jobs, results, strict=True) if not problem]
        problems = {job.case.row["image"]: problem for job, (problem, _) in zip(jobs, results, strict=True) if problem}
        training = [job for job, _ in written if not job.test]
        notes = describe_left_out(left_out, problems)
        if not training:
            raise KerasOrthoError(f"{source} has no image with a mask to train on. {' '.join(notes)}".rstrip())
        labels = {"background": 0, label: 1} | ({IGNORE: 2} if any(doubtful for _, doubtful in written) else {})
        write_json(temporary / "dataset.json", _dataset_json(labels, len(training)))
        splits = _splits(training, column)
        if splits:
            write_json(temporary / "splits_final.json", splits)
        _write_cases([job for job, _ in written], manifest, temporary, target)
    return Exported(target, len(written), (*notes, *_advice(target, bool(splits))))


def _column_of_parts(manifest: Manifest, by: Parts | None) -> Parts | None:
    """Return the column that tells the parts; None if neither has a value."""
    filled: list[Parts] = [name for name in ("split", "fold") if any(row.get(name) for row in manifest.rows)]
    if by is not None and by not in filled:
        raise KerasOrthoError(f"{manifest.path} has no values in column {by}. Run `kerasortho data split` on it first.")
    if by is None and len(filled) > 1:
        raise KerasOrthoError(f"{manifest.path} has splits and folds. Choose with --by split or --by fold.")
    return by or (filled[0] if filled else None)


def _is_wanted(case: ExportCase, column: Parts | None, left_out: Counter[str]) -> bool:
    if column is not None and not case.row[column]:
        left_out[f"without {column}"] += 1
        return False
    if case.mask is None and not (column == "split" and case.row["split"] == "test"):
        left_out["without mask"] += 1
        return False
    return True


def _write(job: _Job) -> tuple[str, bool]:
    """Write one case; return why that is impossible, or '', and whether pixels of it are doubtful."""
    loaded = load_case(job.case)
    if loaded.problem:
        return loaded.problem, False
    part = "Ts" if job.test else "Tr"
    write_png(job.folder / f"images{part}" / f"{job.name}_0000.png", loaded.grey)
    if loaded.mask is None:
        return "", False
    codes = loaded.mask.astype(np.uint8)
    doubtful = loaded.ignore is not None and bool(loaded.ignore.any())
    if loaded.ignore is not None:
        codes[loaded.ignore] = 2
    write_png(job.folder / f"labels{part}" / f"{job.name}.png", codes)
    return "", doubtful


def _dataset_json(labels: dict[str, int], training: int) -> dict[str, object]:
    return {
        "channel_names": {"0": "radiograph"},
        "labels": labels,
        "numTraining": training,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }


def _splits(training: Sequence[_Job], column: Parts | None) -> list[dict[str, list[str]]]:
    """Return the content of splits_final.json; nothing where the manifest tells nothing."""
    if column is None:
        return []
    part_of = {job.name: job.case.row[column] for job in training}
    held_out = ["val"] if column == "split" else sorted(set(part_of.values()), key=int)
    return [
        {
            "train": [name for name, part in part_of.items() if part != held],
            "val": [name for name, part in part_of.items() if part == held],
        }
        for held in held_out
    ]


def _write_cases(jobs: Sequence[_Job], manifest: Manifest, folder: Path, target: Path) -> None:
    """Write which case was which image, with the columns group, split and fold as far as the manifest has them."""
    kept = [name for name in ("group", "split", "fold") if name in manifest.columns]
    rows = [
        {
            "case": job.name,
            "image": relative_cell(job.case.image, target.absolute()),
            **{name: job.case.row[name] for name in kept},
        }
        for job in jobs
    ]
    write_manifest(Manifest(folder / CASES, ("case", "image", *kept), tuple(rows)))


def _advice(target: Path, splits: bool) -> list[str]:
    notes = []
    if not _DATASET.fullmatch(target.name):
        notes.append(f"nnU-Net wants datasets to be called like Dataset501_Bones. This one is called {target.name}.")
    if splits:
        notes.append("Copy splits_final.json to the dataset's folder in nnUNet_preprocessed before training.")
    else:
        notes.append(
            "No splits or folds in the manifest: nnU-Net will split at random, and a patient's images may be on both "
            "sides. Run `kerasortho data split --folds 5` first to avoid that."
        )
    return notes
