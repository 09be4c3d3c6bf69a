"""The complete state of a training, in one file that is replaced in one step.

Keras's BackupAndRestore keeps weights and the epoch; what early stopping and the best checkpoint remember, the random
generators of dropout and the running metrics are lost. Here all of it is in ``last.npz``: resumed, a deterministic
training goes on bit for bit as if it had never stopped.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.files import atomic_path

FORMAT = 1

_DAMAGE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile)  # what numpy raises for a file cut or altered


@dataclass
class Progression:
    """Where a training stands, apart from its variables."""

    epoch: int = 0  # epochs ended, over all phases
    phase: int = 0
    phase_epoch: int = 0  # epochs ended in this phase
    batch: int = 0  # batches done in the current epoch
    seconds: float = 0.0  # of training so far
    epoch_seconds: float = 0.0  # of them in the current epoch
    best: float | None = None  # best value of the monitored metric
    best_epoch: int = 0
    waited: int = 0  # epochs without improvement in this phase
    history: list[dict[str, float]] = field(default_factory=list)

    def improved(self, value: float, mode: str) -> bool:
        """Take in the monitored ``value`` of the epoch that just ended; tell whether it is the best. NaN never is."""
        better = not math.isnan(value) and (
            self.best is None or (value < self.best if mode == "min" else value > self.best)
        )
        if better:
            self.best, self.best_epoch, self.waited = value, self.epoch, 0
        else:
            self.waited += 1
        return better


def save_state(path: Path, model: keras.Model, progression: Progression) -> None:
    """Write ``progression`` and all variables of ``model``: weights, optimizer, dropout generators, running metrics."""
    arrays = {f"{i:05d}": v.numpy() for i, v in enumerate(_variables(model))}
    shapes = [list(a.shape) for a in arrays.values()]
    text = json.dumps({"format": FORMAT, "shapes": shapes, **dataclasses.asdict(progression)})
    arrays["progression"] = np.frombuffer(text.encode(), np.uint8)
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def load_progression(path: Path) -> Progression:
    """Return where the training of a ``last.npz`` stands. Raises KerasOrthoError if it is damaged or too new or old."""
    values = _read(path)[1]
    if values.get("format") != FORMAT:
        raise KerasOrthoError(
            f"{path} was written in checkpoint format {values.get('format')}; this version of kerasortho reads format "
            f"{FORMAT}. Use the kerasortho version named in the run's environment.json."
        )
    return Progression(**{f.name: values[f.name] for f in dataclasses.fields(Progression)})


def load_state(path: Path, model: keras.Model) -> None:
    """Put the variables of a ``last.npz`` into ``model``, which must be built, compiled and in the same phase."""
    arrays, values = _read(path)
    variables = _variables(model)
    if [list(v.shape) for v in variables] != values["shapes"]:
        raise KerasOrthoError(
            f"{path} belongs to another model than the one its config.yaml describes to this version of kerasortho. "
            "Use the version named in the run's environment.json, or start the training again in a new run."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def save_weights(path: Path, model: keras.Model) -> None:
    """Write the weights of ``model`` alone."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **{f"{i:05d}": w.numpy() for i, w in enumerate(model.weights)})


def load_weights(path: Path, model: keras.Model) -> None:
    """Put what `save_weights` wrote into ``model``. Raises KerasOrthoError if the file is missing or damaged."""
    with _open(path) as file:
        try:
            for i, weight in enumerate(model.weights):
                weight.assign(file[f"{i:05d}"])
        except _DAMAGE as error:
            raise _damaged(path) from error


def _variables(model: keras.Model) -> list[Any]:
    """Return all variables once, in an order that the same model always has."""
    found = {id(v): v for v in [*model.variables, *model.metrics_variables, *model.optimizer.variables]}
    return list(found.values())


def _read(path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    with _open(path) as file:
        try:
            values = json.loads(bytes(file["progression"]))
            return [file[f"{i:05d}"] for i in range(len(values["shapes"]))], values
        except _DAMAGE as error:
            raise _damaged(path) from error


def _open(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise KerasOrthoError(f"The checkpoint {path} is missing. Start the training again in a new run.") from None
    except _DAMAGE as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> KerasOrthoError:
    return KerasOrthoError(f"The checkpoint {path} is damaged and cannot be read. Start again in a new run.")
