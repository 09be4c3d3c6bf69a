"""An exported model by its folder, and the run directory that it was exported from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.export.card import read_card
from kerasortho.export.server_files import models_in, versions_of
from kerasortho.files import sha256_file
from kerasortho.training.run import RunDirectory

_DEPTHS = ("*/model.keras", "*/*/model.keras")  # `kerasortho fit` writes runs/NAME, the demo demo/NAME


def find_exported(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the version folder that ``path`` names, its newest if it names none, and the model card in it."""
    if not path.is_dir():
        known = sorted(models_in(path.parent))
        hint = did_you_mean(path.name, known) or (f" There are: {', '.join(known)}." if known else "")
        raise KerasOrthoError(f"There is no exported model {path}.{hint}")
    versions = versions_of(path)
    folder = path / str(versions[-1]) if versions else path
    if not versions and (known := sorted(models_in(path))):
        raise KerasOrthoError(
            f"{path} holds several models. Name one: {path / known[0]}. There are: {', '.join(known)}."
        )
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

    That is up to two folders below the current one, or below that which holds the folder of all exported models. The
    card holds no path: the run is known by its model.keras. The run found is told on stderr.
    """
    places = dict.fromkeys((Path().resolve(), folder.resolve().parent.parent.parent))
    files = [file for place in places for depth in _DEPTHS for file in sorted(place.glob(depth))]
    for file in sorted(files, key=lambda file: file.parent.name != card["name"]):  # most likely the one of its name
        if sha256_file(file) == card["model_sha256"]:
            print(f"{folder} was exported from {file.parent}", file=sys.stderr, flush=True)
            return RunDirectory(file.parent)
    return None
