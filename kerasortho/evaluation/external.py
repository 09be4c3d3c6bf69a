"""Images of another hospital, judged with a run's classes, and whether any were seen in training."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kerasortho.data.manifest import SPLITS, read_manifest
from kerasortho.data.samples import Sample, SampleSet, make_samples, usable_split
from kerasortho.errors import KerasOrthoError
from kerasortho.files import sha256_file
from kerasortho.training.run import RunDirectory


def external_samples(run: RunDirectory, manifest_path: str | os.PathLike[str]) -> SampleSet:
    """Return the samples of another manifest for the task and the classes of ``run``.

    Rows are left out, and counted, by the run's own rules; but the manifest needs no split (see `split_to_judge`), and
    conditions of ``data.where`` hold only for the columns that it has.
    Raises KerasOrthoError where the column with the truth is missing.
    """
    config, manifest = run.config, read_manifest(manifest_path)
    key = "label" if config.task == "classification" else "mask"
    manifest.require_column(getattr(config.data, key), wanted_by=f"data.{key} of {run.path}")
    rows = manifest.rows if "split" in manifest.columns else [{**row, "split": "test"} for row in manifest.rows]
    where = {column: values for column, values in config.data.where.items() if column in manifest.columns}
    data = replace(config.data, where=where, fold=None)
    left_out: Counter[str] = Counter()
    kept = [(row, split) for row in rows if (split := usable_split(row, data, 1, config.task, left_out))]
    samples = make_samples(manifest, kept, data, config.task, run.classes, left_out)
    return SampleSet(manifest, run.classes, tuple(samples), dict(left_out))


def split_to_judge(samples: SampleSet, split: str) -> str:
    """Return "all" where another manifest has no splits, else ``split``.

    Raises KerasOrthoError for "train" and "val" of no splits.
    """
    if "split" in samples.manifest.columns or split not in SPLITS:
        return split
    if split != "test":
        raise KerasOrthoError(
            f"{samples.manifest.path} has no column split, so it has no split {split}. Leave --split out to judge "
            "all of it."
        )
    return "all"


def seen_in_training(run: RunDirectory, samples: Sequence[Sample]) -> list[str] | None:
    """Return the names of ``samples`` whose file is, byte for byte, an image that ``run`` was trained or selected on.

    The run's own splits train and val are such images; so is a copy of one under another name.
    None where the run's own images are no longer at hand to compare with.
    """
    try:
        own = [sample.image for sample in run.samples().samples if sample.split != "test"]
    except KerasOrthoError:
        return None
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in own:
        if path.is_file():
            by_size[path.stat().st_size].append(path)
    paths = {path.resolve() for path in own}
    digests: dict[int, set[str]] = {}

    def is_copy(image: Path) -> bool:
        size = image.stat().st_size if image.is_file() else -1
        if size not in by_size:
            return False
        digests.setdefault(size, {sha256_file(path) for path in by_size[size]})
        return sha256_file(image) in digests[size]

    return [sample.name for sample in samples if sample.image.resolve() in paths or is_copy(sample.image)]
