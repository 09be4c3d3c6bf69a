"""Pretrained weights: by name from Keras's store, or from a file; every way this fails says what to do."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kerasortho.errors import KerasOrthoError
from kerasortho.files import locked


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
    """Return the file in Keras's cache, downloaded unless it is there and whole.

    A file that an earlier, interrupted download has left there is fetched again.
    """
    target = _cache_folder() / published.file_name
    if not _flaw(target, published):
        return target  # at once: the folder of a file that is there need not be writable
    try:
        with locked(target.parent / ".kerasortho.lock", wait=True):
            if _flaw(target, published):  # still: nobody else has fetched it while we waited
                _download(published, target)
    except Exception as error:  # urllib's errors reach us as plain Exception
        checksum = f"md5 {published.md5}" if published.md5 else "no published checksum"
        present = os.path.exists(target)
        unusable = f" The file that is there now cannot be used: {_flaw(target, published)}." if present else ""
        raise KerasOrthoError(
            f'The ImageNet weights of "{name}" could not be fetched ({_one_line(error).rstrip(".")}). On a machine '
            f"with a network, download {published.url} ({checksum}) and put it at {target}, or give its path as the "
            f"model option weights.{unusable} Without pretrained weights: weights: null."
        ) from error
    return target


def _download(published: PublishedWeights, target: Path) -> None:
    """Download to a temporary name, which becomes ``target`` only if what came is whole.

    Keras writes straight to the name that it is given: killed, it leaves a stump which its next run would take. It
    shows the progress, and fails where less is received than the server announced. The temporary name is always the
    same, so that a later download clears away what a killed one has left.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        keras.utils.get_file(part.name, published.url, cache_subdir=str(target.parent), force_download=True)
        if flaw := _flaw(part, published):
            raise ValueError(f"what was received cannot be used: {flaw}")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _cache_folder() -> Path:
    """Return the folder in which Keras looks for weights, so that its files and ours are the same ones.

    Where its home cannot be written, Keras takes a temporary folder instead.
    """
    base = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser().absolute()
    with suppress(OSError):  # where it cannot be made, it cannot be written either
        base.mkdir(parents=True, exist_ok=True)
    if not os.access(base, os.W_OK):
        base = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()) / ".keras"
    return base / "models"


def _flaw(path: Path, published: PublishedWeights) -> str | None:
    """Say why a file cannot be the published one; None if it is, as far as can be told without its checksum."""
    try:
        if not path.is_file():
            return "it is no file"
        if published.md5 is None:
            return None if _is_readable_hdf5(path) else "it is not a complete HDF5 file"
        found = _md5(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None if found == published.md5 else f"its md5 is {found}, not {published.md5}"


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

    def read(_: str, item: Any) -> None:  # anything but None would end the visit
        if isinstance(item, h5py.Dataset):
            item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(read)
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
