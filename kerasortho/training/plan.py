"""The plan: what a training is about to do, on what, and what it will cost, said before it starts."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasortho.config import Config
from kerasortho.data.grouping import BY_IMAGE, describe_sources, group_sources
from kerasortho.data.manifest import SPLITS
from kerasortho.data.pipeline import balanced_visits
from kerasortho.data.samples import SampleSet
from kerasortho.errors import KerasOrthoError
from kerasortho.models import count_parameters, unfreeze
from kerasortho.progress import format_duration
from kerasortho.words import counted


def make_plan(
    config: Config, samples: SampleSet, model: keras.Model, cache: dict[str, Any], steps: int
) -> dict[str, Any]:
    """Return the plan as plain data: images and groups by split, parameters by phase, memory, disk and time.

    ``steps`` are the batches of an epoch. The time is measured on one batch of noise and extrapolated; the true one is
    shown while training.
    """
    forward = _forward_seconds(model, config)
    phases = []
    for phase in config.training.phases:
        unfreeze(model, phase.unfreeze_from)
        count = count_parameters(model)
        share = count.trained / max(count.total, 1)
        phases.append({
            "epochs": phase.epochs, "learning_rate": phase.learning_rate, "unfreeze_from": phase.unfreeze_from,
            "trained_parameters": count.trained, "frozen_parameters": count.frozen,
            # a backward pass costs about twice a forward pass, for the part that is trained
            "seconds": phase.epochs * steps * forward * (1 + 2 * share),
        })  # fmt: skip
    return {
        "name": config.name,
        "task": config.task,
        "model": config.model.name,
        "input": [*config.preprocessing.size, 1],
        "images": {name: len(samples.split(name)) for name in SPLITS},
        "groups": {name: len({s.group for s in samples.split(name)}) for name in SPLITS},
        "grouped_by": group_sources(s.row for s in samples.samples),
        "classes": _class_counts(config, samples),
        "left_out": dict(samples.left_out),
        "blanked": sum(bool(sample.blank) for sample in samples.samples),
        "balance": _visits(config, samples),
        "batches_an_epoch": steps,
        "phases": phases,
        "learn_batchnorm_from": config.model.options.get("learn_batchnorm_from"),
        "prepared_images": cache,
        "memory_bytes": _memory(model, config) + (cache["bytes"] if cache["place"] == "memory" else 0),
        "disk_bytes": _disk(model),
        "seconds": sum(phase["seconds"] for phase in phases),
    }


def describe_plan(plan: dict[str, Any]) -> str:
    """Return the plan as a table for people."""
    known = plan["grouped_by"] != [BY_IMAGE]
    groups = {s: f" ({counted(plan['groups'][s], 'group')})" if known else "" for s in SPLITS}
    images = ", ".join(f"{plan['images'][s]} {s}{groups[s]}" for s in SPLITS)
    size = f"{plan['input'][0]}x{plan['input'][1]}"
    rows = [("run", f"{plan['name']}: {plan['task']} with {plan['model']}, input {size}")]
    rows += [("groups", describe_sources(plan["grouped_by"])), ("images", images)]
    for name, counts in plan["classes"].items():
        rows.append((f"  {name}", ", ".join(f"{counts[s]} {s}" for s in SPLITS)))
    for reason, count in sorted(plan["left_out"].items(), key=lambda item: -item[1]):
        rows.append(("  left out", f"{count}: {reason}"))
    if plan["blanked"]:
        rows.append(("  blanked", f"parts of {counted(plan['blanked'], 'image')}, as column blank tells"))
    if plan["balance"]:
        visits = ", ".join(f"{name or '(empty)'} {n['visits']} of {n['images']}" for name, n in plan["balance"].items())
        rows.append(("  balance", f"visits an epoch, of images: {visits}"))
    for number, phase in enumerate(plan["phases"], 1):
        what = f", unfrozen from {phase['unfreeze_from']}" if phase["unfreeze_from"] else ""
        rows.append((
            f"phase {number}",
            f"{counted(phase['epochs'], 'epoch')} of {counted(plan['batches_an_epoch'], 'batch', 'batches')}, "
            "learning rate "
            f"{phase['learning_rate']:g}{what}; {phase['trained_parameters']:,} parameters trained, "
            f"{phase['frozen_parameters']:,} frozen",
        ))  # fmt: skip
    if plan["learn_batchnorm_from"] and any(phase["unfreeze_from"] for phase in plan["phases"]):
        rows.append(("batchnorm", f"learns from {plan['learn_batchnorm_from']} on, where it is unfrozen"))
    cache = plan["prepared_images"]
    rows.append(("prepared", f"{cache['bytes'] / 1e6:,.0f} MB, kept: {cache['place']}"))
    rows.append((
        "estimate",
        f"memory {plan['memory_bytes'] / 1e9:.1f} GB, checkpoints {plan['disk_bytes'] / 1e6:,.0f} MB, "
        f"time about {format_duration(plan['seconds'])} without validation",
    ))  # fmt: skip
    return "\n".join(f"{key:<12} {value}" for key, value in rows)


def require_disk(plan: dict[str, Any], folder: Path) -> None:
    """Raise KerasOrthoError if the checkpoints will not fit on the disk of ``folder``."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < plan["disk_bytes"]:
        raise KerasOrthoError(
            f"The checkpoints of this run need {plan['disk_bytes'] / 1e6:,.0f} MB, but {existing} has "
            f"{free / 1e6:,.0f} MB free. Free some space, or choose another folder with --runs."
        )


def _class_counts(config: Config, samples: SampleSet) -> dict[str, dict[str, int]]:
    if config.task == "segmentation":
        return {}
    counts = Counter((s.label, s.split) for s in samples.samples)
    return {name: {split: counts[index, split] for split in SPLITS} for index, name in enumerate(samples.classes)}


def _visits(config: Config, samples: SampleSet) -> dict[str, dict[str, int]]:
    if config.data.balance is None:
        return {}
    values = [s.row[config.data.balance] for s in samples.split("train")]
    images = Counter(values)
    return {name: {"images": images[name], "visits": n} for name, n in balanced_visits(values).items()}


def _forward_seconds(model: keras.Model, config: Config) -> float:
    batch = np.random.default_rng(0).random((config.training.batch_size, *config.preprocessing.size, 1), np.float32)
    model.predict_on_batch(batch)  # builds the function
    start = time.perf_counter()
    model.predict_on_batch(batch)
    return time.perf_counter() - start


def _memory(model: keras.Model, config: Config) -> int:
    """Weights, gradients and AdamW's two moments, and the activations that a backward pass keeps; in bytes."""
    count = count_parameters(model)
    activations = 0
    for layer in model._flatten_layers(include_self=False, recursive=True):
        shape = getattr(getattr(layer, "output", None), "shape", None)
        if shape is not None and None not in shape[1:]:
            activations += int(np.prod(shape[1:]))
    return 4 * (4 * count.trained + count.frozen) + 4 * activations * config.training.batch_size


def _disk(model: keras.Model) -> int:
    """last.npz (weights and two moments) as it is replaced by a new one, best.npz and model.keras; in bytes."""
    count = count_parameters(model)
    weights = 4 * count.total
    return 2 * (weights + 8 * count.trained) + 3 * weights
