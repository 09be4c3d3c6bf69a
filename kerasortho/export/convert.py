"""From an exported model to files for edge devices: each checked on the run's validation images before it is written.

Where the files go, and what is in them: `edge_files`.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kerasortho.data.samples import Sample
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.outputs import gather_files
from kerasortho.export.calibration import IMAGES, choose_calibration
from kerasortho.export.edge_files import Conversion, Converted, write_files
from kerasortho.export.exported import find_exported, matching_run
from kerasortho.export.format_check import THREADS, Check, ParityCheck, TruthCheck, latencies, prepare
from kerasortho.export.formats import (
    DEFAULT_FORMATS,
    FORMATS,
    MAX_DROP,
    Converter,
    Format,
    check_formats,
    open_model,
)
from kerasortho.export.saved_model import SavedModel
from kerasortho.files import require_writable
from kerasortho.machine import multiplies_int8, processor_count
from kerasortho.progress import track
from kerasortho.radiograph.preprocessing import Preprocessing
from kerasortho.training.run import RunDirectory

SHARES = (0.0, 0.9, 0.99, 0.997, 0.999)  # of the error: the layers that carry it stay in float32, tried in this order
# The same where a tolerance holds for each single probability.
FINE_SHARES = (*SHARES, 0.9997, 0.9999, 0.99997, 0.99999, 0.999999)
MARGIN = 0.5  # of the drop or difference allowed may show on the calibration images: the validation images are others
FINE_MARGINS = (MARGIN, 0.25, 0.1)  # of a tolerance: the next one where validation images show more than is allowed
SMALL, FAST = 1 / 3, 0.8  # of fp32's size and time: what int8 is made for
_SHOWN_LAYERS = 5

PathLike = str | os.PathLike[str]


def convert(
    exported: PathLike,
    *,
    run: RunDirectory | PathLike | None = None,
    images: Sequence[PathLike] = (),
    formats: Sequence[str] = DEFAULT_FORMATS,
    max_drop: float = MAX_DROP,
    calibration_images: int = IMAGES,
) -> Conversion:
    """Convert an exported model, check every format, and write those that lose at most ``max_drop``.

    float32 and fp16 must also keep to `Format.tolerance`. A format that cannot be made fails alone.

    Args:
        exported: folder of an exported model, ``exported/NAME`` (its newest version) or ``exported/NAME/VERSION``.
        run: the run directory that it was exported from: its validation images check the formats, its training images
            calibrate int8.
        images: without a run: image files, or folders of them, on which the formats are compared with the SavedModel.
        formats: names from `FORMATS`.
        max_drop: of accuracy, or of mean Dice; without a run, of the agreement with the SavedModel.
        calibration_images: how many training images calibrate.

    Raises KerasOrthoError where the model, the run or the images cannot be used, the run is another model's, a package
    is missing, or the folder cannot be written.
    """
    chosen = check_formats(formats)
    folder, card = find_exported(Path(exported))
    _check_sources(chosen, run, images)
    to = folder.parent / f"edge-{card['version']}"
    require_writable(to)
    opened = None if run is None else matching_run(run, card, folder)
    source = SavedModel(folder)
    if opened is not None:
        check, tuning, calibration = _checks_of_run(opened, card, source, calibration_images)
    else:
        files = gather_files(images, None)
        check = tuning = ParityCheck(prepare(files, _spec(card), "reading images"), card, source.answers)
        calibration = {}
    conversion = Conversion(to, {**check.facts, **({"split": "val"} if opened else {})})
    converter = Converter(source, tuning.images, tuning.boxes)
    for name in chosen:
        conversion.models[name] = _make(name, converter, tuning, check, max_drop, calibration)
    _time(conversion, check.images)
    write_files(conversion, card)
    return conversion


def _check_sources(formats: Sequence[str], run: object, images: Sequence[PathLike]) -> None:
    if run is not None and images:
        raise KerasOrthoError("Name a run or images, not both: with a run, its own validation images are used.")
    if run is not None:
        return
    if not images:
        raise KerasOrthoError(
            "A converted model is written only after a check on images. Name the run it was exported from (--run RUN: "
            "checked on its validation images; none is here, or beside the exported models), or image files (--images "
            "FILE: compared with the SavedModel only)."
        )
    if calibrated := [name for name in formats if FORMATS[name].calibrated]:
        raise KerasOrthoError(
            f"{', '.join(calibrated)} is calibrated on the run's training images: name the run with --run RUN, or "
            "leave it out of --formats."
        )


def _checks_of_run(
    run: RunDirectory, card: dict[str, Any], source: SavedModel, count: int
) -> tuple[Check, Check, dict[str, Any]]:
    """Return the check on validation images, that on the calibration images, and what these are."""
    samples = run.samples()
    training = choose_calibration(samples.split("train"), count)
    resamples = run.config.evaluation.bootstrap
    tuning = TruthCheck(training, card, source.answers, resamples=0, label="reading calibration images")
    check = TruthCheck(
        samples.split("val"), card, source.answers, resamples=resamples, label="reading validation images"
    )
    return check, tuning, _describe_calibration(training, card)


def _describe_calibration(samples: Sequence[Sample], card: dict[str, Any]) -> dict[str, Any]:
    classes = Counter(card["classes"][sample.label] for sample in samples if sample.label >= 0)
    facts = {"images": len(samples), "groups": len({sample.group for sample in samples})}
    return {**facts, "classes": dict(classes)} if classes else facts


def _make(
    name: str, converter: Converter, tuning: Check, check: Check, max_drop: float, calibration: dict[str, Any]
) -> Converted:
    """Make one format and check it; a tool that stumbles over this one costs no other."""
    try:
        return _made(name, converter, tuning, check, max_drop, calibration)
    except Exception as error:
        lines = str(error).strip().splitlines() or ["without a reason"]
        reason = str(error) if isinstance(error, KerasOrthoError) else f"{type(error).__name__}: {lines[0]}"
        return Converted(name, b"", {"passed": False}, f"{name} could not be made: {reason}")


def _made(
    name: str, converter: Converter, tuning: Check, check: Check, max_drop: float, calibration: dict[str, Any]
) -> Converted:
    made = FORMATS[name]
    kept: list[str] | None = None
    for margin in FINE_MARGINS if made.reduced and made.tolerance < math.inf else (MARGIN,):
        before = kept
        content, kept = _best(name, converter, tuning, max_drop, margin)
        if kept == before:  # the most that help stay in float32 already
            break
        found = check.compare(_answers(name, content, check.images, f"checking {name}"))
        if found["largest_difference"] <= made.tolerance:
            break
    facts: dict[str, Any] = {"bytes": len(content), "sha256": sha256(content).hexdigest(), "max_drop": max_drop}
    if made.reduced:
        facts["float32_layers"] = kept
    if made.calibrated:
        facts["calibration"] = calibration
    facts |= found
    converted = Converted(name, content, facts)
    if not (_lost(facts) <= max_drop and facts["largest_difference"] <= made.tolerance):  # NaN fails, too
        converted.failure = _explain(converted, converter, check)
    facts["passed"] = not converted.failure
    return converted


def _best(name: str, converter: Converter, tuning: Check, max_drop: float, margin: float) -> tuple[bytes, list[str]]:
    """Return the model with as few layers in float32 as the calibration images allow, and the names of these.

    They allow ``margin`` of what the check on other images does. Where even the most do not suffice, the closest model
    is returned: that check decides.
    """
    made: Format = FORMATS[name]
    if not made.reduced:
        return made.make(converter, ()), []
    tried: list[tuple[tuple[bool, float, float], bytes, list[str]]] = []
    for share in SHARES if made.tolerance == math.inf else FINE_SHARES:
        keep = converter.quantiser.worst(share, fp16=name == "fp16")
        if tried and len(keep) == len(tried[-1][2]):
            continue
        content = made.make(converter, keep)
        found = tuning.compare(_answers(name, content, tuning.images, f"trying {name}"))
        bad = not _lost(found) <= margin * max_drop
        difference, agreement = found["largest_difference"], found["agreement"]
        closeness = difference if made.tolerance < math.inf else -agreement
        tried.append(((bad, closeness, difference), content, [layer.label for layer in keep]))
        if not bad and difference <= margin * made.tolerance and agreement >= made.agreement:
            break
    _, content, kept = min(tried, key=lambda item: item[0])
    return content, kept


def _lost(found: dict[str, Any]) -> float:
    """Return the drop; where no image has foreground, what is missing to full agreement."""
    drop = found["drop"]["value"]
    return 1.0 - float(found["agreement"]) if drop is None else float(drop)


def _answers(name: str, content: bytes, images: np.ndarray, label: str) -> np.ndarray:
    network = open_model(name, content, max(1, min(processor_count(), 4)))
    return np.stack([network(image) for image in track(images, label)])


def _explain(model: Converted, converter: Converter, check: Check) -> str:
    """Return what was lost, and where to look."""
    facts, found, made = model.facts, check.facts, FORMATS[model.name]
    drop = facts["drop"]
    interval = "" if drop["low"] is None else f" (95 % interval {drop['low']:.4f} to {drop['high']:.4f})"
    if _lost(facts) <= facts["max_drop"]:
        text = (
            f"{model.name} changes a probability by {facts['largest_difference']:.2g} on {found['images']} images; at "
            f"most {made.tolerance:g} is allowed for this format. It was not written."
        )
    else:
        text = (
            f"{model.name} loses {_lost(facts):.4f}{interval} of {found['score']} on {found['images']} images; at most "
            f"{facts['max_drop']} is allowed (--max-drop). It was not written."
        )
    if not made.reduced:
        return f"{text} A float32 format should lose nothing: please report this."
    fp16 = model.name == "fp16"
    ranking = converter.quantiser.ranking_fp16 if fp16 else converter.quantiser.ranking
    worst = ", ".join(f"{layer.label} ({error:.2g})" for layer, error in ranking[:_SHOWN_LAYERS])
    alone = "in 16-bit floats" if fp16 else "int8"
    text += f" Layers that suffer most, with the change of the probabilities when they alone are {alone}: {worst}."
    if kept := facts["float32_layers"]:
        text += f" {len(kept)} layers are in float32 already, the first of these included."
    if calibration := facts.get("calibration"):
        text += (
            f" Calibrated on {calibration['images']} training images of {calibration['groups']} groups: more "
            "(--calibration-images) help if those do not show all that the validation images show."
        )
    return text


def _time(conversion: Conversion, images: np.ndarray) -> None:
    made = {name: model for name, model in conversion.models.items() if model.content}
    for threads in THREADS if made else ():
        networks = {name: open_model(name, model.content, threads) for name, model in made.items()}
        for name, milliseconds in latencies(networks, images).items():
            made[name].facts.setdefault("latency_ms", {})[str(threads)] = round(milliseconds, 2)
    if "fp32" in made:
        for name, model in made.items():
            if math.isinf(FORMATS[name].tolerance) and (remarks := _remarks(model, made["fp32"])):
                model.facts["remarks"] = remarks


def _remarks(model: Converted, whole: Converted) -> list[str]:
    """Return what an int8 format is for and does not give: no reason to fail it, another device ranks differently."""
    size = model.facts["bytes"] / whole.facts["bytes"]
    duration = model.facts["latency_ms"]["1"] / whole.facts["latency_ms"]["1"]
    found = []
    if size >= SMALL:
        found.append(f"{model.name} has {size:.2f} of fp32's size, not less than a third")
    if duration > FAST:
        reason = ": this processor lacks 8-bit dot products" if multiplies_int8() is False else ""
        found.append(f"{model.name} takes {duration:.2f} times as long as fp32 here, not clearly less{reason}")
    return found


def _spec(card: dict[str, Any]) -> Preprocessing:
    return Preprocessing.from_dict(card["preprocessing"])
