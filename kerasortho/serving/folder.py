"""Which models a folder offers to a server: those of ``models.config``, or without one all that lie in it."""

from __future__ import annotations

from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import MODELS_CONFIG, read_models_config, versions_of


def configured_models(folder: Path) -> list[ModelConfig]:
    """Return the models to serve: those of ``models.config``, or without one every folder that has versions.

    Raises KerasOrthoError for a damaged or empty ``models.config``, OSError for a folder that cannot be read.
    """
    if (folder / MODELS_CONFIG).exists():
        config = read_models_config(folder)
        if not config.HasField("model_config_list"):  # an editor empties a file before it writes it
            raise KerasOrthoError(f"{folder / MODELS_CONFIG} is empty: it has no model_config_list {{ }}.")
        return list(config.model_config_list.config)
    names = sorted(path.name for path in folder.iterdir() if versions_of(path))
    return [ModelConfig(name=name, base_path=name, model_platform="tensorflow") for name in names]


def require_models(folder: Path) -> None:
    """Raise KerasOrthoError for a folder with nothing to serve."""
    if not folder.is_dir() or not configured_models(folder):
        raise KerasOrthoError(
            f"{folder} holds no exported models. `kerasortho export RUN --to {folder}` writes one there; name the "
            "folder that holds the models' folders, not one of these."
        )
