"""Pretrained weights: by name from Keras's store, or from a file; every way this fails says what to do."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import keras

from kerasortho.errors import KerasOrthoError


@dataclass(frozen=True)
class PublishedWeights:
    """One file of Keras's store: its address and its MD5 (None where the publisher gives none)."""

    url: str
    md5: str | None

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


def load_backbone_weights(network: keras.Model, name: str, weights: str | None, published: PublishedWeights) -> None:
    """Load ``weights`` ("imagenet", a path or None for random values) into ``network``, in place.

    Raises KerasOrthoError for a failed download, a missing or damaged file, or one of another network.
    """
    if weights is None:
        return
    if weights == "imagenet":
        path = _fetch(name, published)
    else:
        path = Path(weights).expanduser()
        _check_is_weights_file(path, name)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "error", message=".*freshly-initialized weights"
            )  # a part left random is no success
            network.load_weights(str(path))
    except Exception as error:  # h5py and Keras raise OSError, KeyError, ValueError and others here
        raise _explain_failed_load(path, name, published, error) from error


def _fetch(name: str, published: PublishedWeights) -> Path:
    """Return the cached file, fetched if it is not there; Keras checks the MD5 and renames only a complete file."""
    try:
        return Path(
            keras.utils.get_file(published.file_name, published.url, cache_subdir="models", file_hash=published.md5)
        )
    except Exception as error:  # urllib's errors reach us as plain Exception
        cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        checksum = f"md5 {published.md5}" if published.md5 else "no published checksum"
        raise KerasOrthoError(
            f'The ImageNet weights of "{name}" could not be fetched ({_one_line(error)}). On a machine with a network, '
            f"download {published.url} ({checksum}) and put it at {cache / 'models' / published.file_name}, or give "
            f"its path as the model option weights. Without pretrained weights: weights: null."
        ) from error


def _check_is_weights_file(path: Path, name: str) -> None:
    if not path.is_file():
        raise KerasOrthoError(
            f'There is no weights file {path}. The model option weights takes "imagenet", the path of a {name} weights '
            f"file without top (.h5 or .weights.h5), or null for random values."
        )
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise KerasOrthoError(f"{path} is not a weights file: its name must end in .weights.h5 or .h5.")


def _explain_failed_load(path: Path, name: str, published: PublishedWeights, error: Exception) -> KerasOrthoError:
    if not _is_readable_hdf5(path):
        return KerasOrthoError(
            f"The weights file {path} is damaged ({_one_line(error)}); an interrupted download is the usual cause. "
            f"Delete it and fetch it again.{_checksum_hint(path, published)}"
        )
    return KerasOrthoError(
        f'The weights file {path} does not fit the network "{name}" ({_one_line(error)}). It must hold the weights of '
        f"keras.applications' network of that name with include_top=False.{_checksum_hint(path, published)}"
    )


def _is_readable_hdf5(path: Path) -> bool:
    """Whether every object in the file can be opened; a truncated HDF5 file fails here."""
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, item: item[()] is None if isinstance(item, h5py.Dataset) else None)
    except (OSError, RuntimeError, KeyError):
        return False
    return True


def _checksum_hint(path: Path, published: PublishedWeights) -> str:
    """A sentence on whether the file is the published one, where its name claims so."""
    if path.name != published.file_name or published.md5 is None:
        return ""
    found = _md5(path)
    return f" Its md5 is {found}, the published one's is {published.md5}."


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _one_line(error: Exception, limit: int = 200) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + "..."
