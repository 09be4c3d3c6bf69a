"""An exported model by its folder, and the run directory that it was exported from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.export.card import read_card
from kerasortho.export.server_files import versions_of
from kerasortho.files import sha256_file
from kerasortho.training.run import RunDirectory

RUNS = "runs"  # where `kerasortho fit` puts them


def find_exported(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the version folder that ``path`` names, its newest if it names none, and the model card in it."""
    if not path.is_dir():
        known = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise KerasOrthoError(f"There is no exported model {path}.{did_you_mean(path.name, known)}")
    versions = versions_of(path)
    folder = path / str(versions[-1]) if versions else path
    return folder, read_card(folder)


def matching_run(run: RunDirectory | str | os.PathLike[str], card: dict[str, Any], folder: Path) -> RunDirectory:
    """Return ``run``, opened. Raises KerasOrthoError unless the model in ``folder``, with ``card``, came from it."""
    opened = run if isinstance(run, RunDirectory) else RunDirectory(run)
    file = opened.path / "model.keras"
    if not file.is_file() or sha256_file(file) != card["model_sha256"]:
        raise KerasOrthoError(
            f"{folder} was not exported from {opened.path}: its model card names another model.keras (SHA-256 "
            f"{card['model_sha256'][:12]}...). Name the run it came from, or export this one with `kerasortho export`."
        )
    return opened


def find_run(card: dict[str, Any], folder: Path) -> RunDirectory | None:
    """Return the run that the model in ``folder``, with ``card``, was exported from, if it lies where runs usually do.

    That is in ``runs/`` here, or beside the folder of all exported models. The card holds no path: it is known by its
    model.keras. The run found is told on stderr.
    """
    places = dict.fromkeys((Path(RUNS).resolve(), folder.resolve().parent.parent.parent / RUNS))
    files = [file for place in places for file in sorted(place.glob("*/model.keras"))]
    for file in sorted(files, key=lambda file: file.parent.name != card["name"]):  # most likely the one of its name
        if sha256_file(file) == card["model_sha256"]:
            print(f"{folder} was exported from {file.parent}", file=sys.stderr, flush=True)
            return RunDirectory(file.parent)
    return None
