"""The model card ``model.json`` that every exported model carries: what it is, how good, and what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any

from kerasortho import __version__
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.intervals import CONFIDENCE
from kerasortho.files import read_json, sha256_file
from kerasortho.training.run import RunDirectory
from kerasortho.training.runtime import package_versions

FORMAT = 1
CARD = "model.json"
INTENDED_USE = "Research use only; not a medical device. Every answer must be checked by a qualified person."


def make_card(run: RunDirectory, *, name: str, version: int, max_pixels: int) -> dict[str, Any]:
    """Return the card of the model in ``run`` as plain data for JSON; it holds no path, name or id of anybody.

    Scores are those that `kerasortho evaluate` found for this very model; of another one (trained on since) they are
    left out.
    """
    config, model = run.config, sha256_file(run.path / "model.keras")
    metrics = {split: found for split, found in run.metrics().items() if found.get("model_sha256") == model}
    segmenter = {"threshold": config.evaluation.threshold} if config.task == "segmentation" else {}
    return {
        "format": FORMAT,
        "name": name,
        "version": version,
        "task": config.task,
        "classes": list(run.classes),
        "preprocessing": config.preprocessing.to_dict(),
        "max_pixels": max_pixels,
        **segmenter,
        "temperature": 1.0,  # the probabilities are the model's own
        "architecture": config.model.name,
        "model_sha256": model,
        "training": _training(run),
        "metrics": {split: _metrics(found) for split, found in metrics.items()},
        "versions": {"kerasortho": __version__, **package_versions()},
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "intended_use": INTENDED_USE,
    }


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of the exported model in ``folder``. Raises KerasOrthoError if there is none that fits."""
    file = folder / CARD
    if not file.is_file():
        raise KerasOrthoError(f"{folder} is no exported model: it has no {CARD}. `kerasortho export RUN` makes them.")
    card = read_json(file)
    if card.get("format") != FORMAT:
        raise KerasOrthoError(
            f"{file} has format {card.get('format')!r}; this version of kerasortho reads format {FORMAT}. Export the "
            "model again with this version."
        )
    return card


def _training(run: RunDirectory) -> dict[str, Any]:
    plan, data = run.document("plan"), run.config.data
    return {
        "data": data.source or None,
        "licence": data.licence or None,
        "manifest": PurePath(run.data["manifest"]).name,
        "manifest_sha256": run.data["manifest_sha256"],
        "images": plan["images"],
        "groups": plan["groups"],
        "seed": run.config.training.seed,
        "started_from": run.document("start") if run.config.model.start_from is not None else None,
    }


def _metrics(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return overall scores with intervals, and on what they were measured: by hash, never by path."""
    return {
        "images": results["images"],
        "groups": results["groups"],
        "manifest_sha256": results["manifest_sha256"],
        "confidence": CONFIDENCE,
        "scores": results["metrics"],
    }
