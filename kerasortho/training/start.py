"""``model.start_from``: a training that begins with the weights of another run, such as one on phantoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kerasortho.config import Config
from kerasortho.errors import KerasOrthoError
from kerasortho.files import sha256_file
from kerasortho.training.run import RunDirectory


def open_start(config: Config) -> RunDirectory:
    """Return the run that ``config.model.start_from`` names.

    Raises KerasOrthoError where there is none, its training has not ended, or its model is another one.
    """
    path = config.model.start_from
    assert path is not None
    try:
        run = RunDirectory(path)
    except KerasOrthoError as error:
        raise KerasOrthoError(f'"model.start_from": {error}') from None
    if not run.complete:
        raise KerasOrthoError(
            f'"model.start_from": the training of {path} has not ended. Continue it with `kerasortho fit --resume '
            f"{path}`."
        )
    name = run.config.model.name
    if name != config.model.name:
        raise KerasOrthoError(
            f'"model.start_from": {path} is a {name}, and model.name is {config.model.name}. A training can begin with '
            "the weights of the same model only."
        )
    return run


def start_options(options: Mapping[str, Any], start: RunDirectory) -> dict[str, Any]:
    """Return the model's ``options`` with nothing left to fetch: weights, and which BatchNorm learns, are the run's."""
    taken = {"weights": None, "learn_batchnorm_from": start.config.model.options.get("learn_batchnorm_from")}
    chosen = options.get("learn_batchnorm_from")
    if chosen not in (None, "auto"):
        del taken["learn_batchnorm_from"]
    return {**options, **{key: value for key, value in taken.items() if key in options}}


def take_weights(model: keras.Model, start: RunDirectory) -> None:
    """Copy the weights of the run's best model into ``model``, in place; the input's size may differ.

    Raises KerasOrthoError where the two are not made of the same layers.
    """
    theirs = start.load_model()
    for own, other in zip(_described(model), _described(theirs), strict=False):
        if own != other:
            raise _another(start, f"its {other[0]} has shape {other[1]}, here {own[0]} has {own[1]}")
    if len(model.weights) != len(theirs.weights):
        raise _another(start, f"it has {len(theirs.weights)} weights, here are {len(model.weights)}")
    model.set_weights(theirs.get_weights())


def describe_start(start: RunDirectory) -> dict[str, Any]:
    """Return what is known of the run, for ``start.json`` and the model card; no path."""
    config, plan = start.config, start.document("plan")
    earlier = start.document("start") if config.model.start_from is not None else None
    return {
        "run": config.name,
        "model_sha256": sha256_file(start.path / "model.keras"),
        "data": config.data.source or None,
        "licence": config.data.licence or None,
        "images": plan["images"],
        "manifest_sha256": start.data["manifest_sha256"],
        "started_from": earlier,
    }


def _described(model: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
    """Return each weight's path without the model's name, and its shape."""
    return [(weight.path.removeprefix(f"{model.name}/"), tuple(weight.shape)) for weight in model.weights]


def _another(start: RunDirectory, how: str) -> KerasOrthoError:
    return KerasOrthoError(
        f'"model.start_from": the model of {start.path} was built otherwise: {how}. Give the same model.options as in '
        f"{start.path / 'config.yaml'}, and the same number of classes."
    )
