"""Judge a trained model on images it has not seen: scores with intervals, a table of single images, figures."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasortho import __version__
from kerasortho.data.grouping import BY_IMAGE, group_sources
from kerasortho.data.manifest import SPLITS, manifest_hash
from kerasortho.data.samples import Sample, SampleSet
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.external import external_samples, seen_in_training, split_to_judge
from kerasortho.evaluation.inference import Predictor
from kerasortho.evaluation.intervals import CONFIDENCE, ClusterBootstrap, few_groups
from kerasortho.evaluation.judging import Judged, judge
from kerasortho.files import require_writable, sha256_file, write_text
from kerasortho.training.run import RunDirectory

SEED = 0  # of the resampling: the same answers give the same intervals
MOST_SUBGROUPS = 50


def evaluate(
    run: RunDirectory | str | os.PathLike[str],
    *,
    split: str = "test",
    by: Sequence[str] = (),
    manifest: str | os.PathLike[str] | None = None,
    name: str | None = None,
    figures: bool = True,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Judge the best model of ``run`` and return all results as plain data.

    The same results are written into the run directory: ``metrics.json`` (under ``name``), ``predictions/NAME.csv``
    (one row an image) and ``figures/NAME-*.png``.

    Args:
        run: a run directory whose training has ended.
        split: "test", "val", "train" or "all".
        by: columns of the manifest; the scores are repeated for each of their values.
        manifest: another manifest, such as another hospital's, judged with the run's classes; all of it, if it has no
            column ``split``.
        name: what the results are called; None: the split, with the other manifest's name before it.
        figures: draw the figures.
        batch_size: images per call of the model; None chooses by task.

    Raises KerasOrthoError where the run, the manifest, the split or a column is not there, the run directory cannot be
    written, or no image can be judged.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    samples = run.samples() if manifest is None else external_samples(run, manifest)
    split = split if manifest is None else split_to_judge(samples, split)
    chosen = samples.split(split)
    if not chosen:
        raise KerasOrthoError(_nothing_to_judge(samples, split))
    for column in by:
        _check_column(samples, chosen, column)
    title = _title(name, split, samples if manifest is not None else None)
    for folder in (run.path, run.path / "predictions", run.figures):
        require_writable(folder)
    predictor = Predictor(run, batch_size=batch_size)
    judged, unusable = judge(predictor, chosen, f"evaluating {title}")
    results = {
        **_facts(run, samples, split),
        **_certainty(run, chosen),
        "unusable": unusable,
        "blanked": sum(bool(sample.blank) for sample in judged.samples),
        "seen_in_training": seen_in_training(run, chosen),
        **_summary(run, judged, np.arange(len(judged.samples))),
        "subgroups": {column: _subgroups(run, judged, column) for column in by},
        "table": f"predictions/{title}.csv",
        "figures": [],
    }
    write_text(run.path / results["table"], _table(judged))
    if figures:
        from kerasortho.evaluation.figures import draw_all

        results["figures"] = [f"figures/{path.name}" for path in draw_all(run, title, judged, results, predictor)]
    run.write_metrics(title, results)
    return results


def _facts(run: RunDirectory, samples: SampleSet, split: str) -> dict[str, Any]:
    """Return what was judged, with what."""
    config = run.config
    return {
        "task": config.task,
        "classes": list(run.classes),
        "split": split,
        "manifest": str(samples.manifest.path.resolve()),
        "manifest_sha256": manifest_hash(samples.manifest),
        "left_out": dict(samples.left_out),
        "model_sha256": sha256_file(run.path / "model.keras"),
        "kerasortho": __version__,
        **({"threshold": config.evaluation.threshold} if config.task == "segmentation" else {}),
    }


def _certainty(run: RunDirectory, chosen: Sequence[Sample]) -> dict[str, Any]:
    """Return what the images are grouped by, and how intervals are made from that."""
    sources = group_sources(sample.row for sample in chosen)
    units = "single images (and their copies)" if sources == [BY_IMAGE] else "whole groups"
    return {
        "grouped_by": sources,
        "intervals": {
            "confidence": CONFIDENCE,
            "method": f"percentile bootstrap, {units} resampled; wilson: Wilson's score interval over images",
            "resamples": run.config.evaluation.bootstrap,
            "seed": SEED,
        },
    }


def _summary(run: RunDirectory, judged: Judged, chosen: np.ndarray) -> dict[str, Any]:
    samples = [judged.samples[i] for i in chosen]
    groups = [sample.group for sample in samples]
    bootstrap = ClusterBootstrap(groups, resamples=run.config.evaluation.bootstrap, seed=SEED)
    unit = "image" if group_sources(sample.row for sample in samples) == [BY_IMAGE] else "group"
    return {
        "images": bootstrap.images,
        "groups": bootstrap.groups,
        "intervals_unreliable": few_groups(bootstrap.groups, unit),
        **judged.summary(chosen, bootstrap),
    }


def _subgroups(run: RunDirectory, judged: Judged, column: str) -> dict[str, Any]:
    values = np.array([sample.row[column] for sample in judged.samples])
    return {str(value): _summary(run, judged, np.flatnonzero(values == value)) for value in np.unique(values)}


def _check_column(samples: SampleSet, chosen: Sequence[Sample], column: str) -> None:
    manifest = samples.manifest
    manifest.require_column(column)
    values = {sample.row[column] for sample in chosen}
    if len(values) > MOST_SUBGROUPS:
        raise KerasOrthoError(
            f"{manifest.path}: column {column!r} has {len(values)} different values among these images, too many for a "
            f"table of subgroups (at most {MOST_SUBGROUPS}). Choose a column with fewer, or add one with bins."
        )


def _title(name: str | None, split: str, external: SampleSet | None) -> str:
    """Return the name of the results, fit for a file; by default of the split, after another manifest's own name."""
    if name is None and external is not None:
        path = external.manifest.path.resolve()
        stem = path.parent.name if path.stem.lower() == "manifest" and path.parent.name else path.stem
        name = f"{stem}-{split}"
    name = split if name is None else name
    if external is not None and name in (*SPLITS, "all"):
        raise KerasOrthoError(f"--name {name} would replace the run's own results on that split. Choose another name.")
    if not re.fullmatch(r"[^\\/:*?\"<>|\s.][^\\/:*?\"<>|]*", name):
        raise KerasOrthoError(f"--name must be fit for a file name. Received: {name!r}.")
    return name


def _nothing_to_judge(samples: SampleSet, split: str) -> str:
    counts = {name: len(samples.split(name)) for name in ("train", "val", "test")}
    there = ", ".join(f"{number} in {name}" for name, number in counts.items())
    left_out = "; ".join(f"{number}: {reason}" for reason, number in samples.left_out.items())
    return f"{samples.manifest.path} has no image in split {split} to judge ({there}; left out: {left_out or 'none'})."


def _table(judged: Judged) -> str:
    rows = list(judged.rows())
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
