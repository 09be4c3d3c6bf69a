"""Writing ``model.keras`` so that plain Keras can read it."""

from __future__ import annotations

import os

import keras

from kerasortho.files import atomic_path


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write ``model`` without losses, metrics and optimizer to ``path`` (``.keras``), atomically.

    A compiled model would store our losses by name, and a process without kerasortho could then not load it.
    Raises KerasOrthoError where the file cannot be written.
    """
    bare = keras.Model(model.input, model.output, name=model.name)
    with atomic_path(path) as temporary:
        bare.save(temporary)
