"""The run directory: everything that a training run is, on disk, so that it can be resumed, judged, used and repeated.

::

    runs/NAME/
      config.yaml        the resolved configuration
      data.json          manifest path and hash, classes, what was left out
      split.csv          every sample: image, group, split, label
      environment.json   versions, machine, seed, command
      plan.json          what the plan printed
      start.json         the run that it began with (model.start_from), if any
      history.csv        one row an epoch
      training.json      best epoch, time and memory that the training took
      checkpoints/       last.npz (complete state), best.npz (weights)
      model.keras        the best model
      metrics.json       results of `kerasortho evaluate`, by split
      figures/ logs/     curves and examples; TensorBoard
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kerasortho.config import Config, config_from_dict
from kerasortho.data.manifest import manifest_hash
from kerasortho.data.samples import SampleSet, load_samples, used_columns
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.files import read_json, write_json, write_text
from kerasortho.yaml_file import read_yaml

if TYPE_CHECKING:
    import keras

FORMAT = 1  # raised when a run directory of before can no longer be read


class RunDirectory:
    """A run on disk. ``RunDirectory.create`` starts one, ``RunDirectory(path)`` opens one that exists."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open an existing run. Raises KerasOrthoError if ``path`` is no run directory or one of another format."""
        self.path = Path(path)
        data = self._read_json("data.json")
        if data.get("format") != FORMAT:
            raise KerasOrthoError(
                f"{self.path} was written in run-directory format {data.get('format')}; this version of kerasortho "
                f"reads format {FORMAT}. Use the kerasortho version named in its environment.json."
            )
        self.data: dict[str, Any] = data
        self.classes: tuple[str, ...] = tuple(data["classes"])

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: Config, samples: SampleSet, **documents: dict[str, Any]
    ) -> RunDirectory:
        """Write a new run directory, with ``documents`` as NAME.json. Raises KerasOrthoError as `require_new` does."""
        folder = Path(path)
        require_new(folder)
        write_text(folder / "config.yaml", yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True))
        for name, document in documents.items():
            write_json(folder / f"{name}.json", document)
        write_text(folder / "split.csv", _split_table(samples, config))
        manifest, columns = samples.manifest, used_columns(config.data, config.task)
        write_json(
            folder / "data.json",  # last: from here on the folder is a run
            {
                "format": FORMAT,
                "manifest": str(manifest.path.resolve()),
                "manifest_columns": columns,  # others may be added and changed: folds, remarks
                "manifest_sha256": manifest_hash(manifest, columns),
                "classes": list(samples.classes),
                "left_out": dict(samples.left_out),
            },
        )
        return cls(folder)

    @cached_property
    def config(self) -> Config:
        """The resolved configuration."""
        file = self.path / "config.yaml"
        values = read_yaml(file)
        try:
            return config_from_dict(values)
        except KerasOrthoError as error:
            raise KerasOrthoError(f"{file}: {error}") from None

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def complete(self) -> bool:
        """Whether training has ended and the best model is there."""
        return (self.path / "model.keras").is_file()

    def samples(self) -> SampleSet:
        """Return the samples exactly as trained. Raises KerasOrthoError if the manifest is gone or has changed."""
        if not Path(self.data["manifest"]).is_file():
            raise self._other_manifest("is gone, that", "was trained with.")
        data = replace(self.config.data, manifest=self.data["manifest"])
        samples = load_samples(data, self.config.task, self.classes)
        if manifest_hash(samples.manifest, self.data.get("manifest_columns")) != self.data["manifest_sha256"]:
            raise self._other_manifest("has changed since", "was trained, so its split may have changed, too.")
        return samples

    def _other_manifest(self, what: str, then: str) -> KerasOrthoError:
        return KerasOrthoError(
            f"The manifest {self.data['manifest']} {what} {self.path} {then} Restore it; or judge the run on another "
            f"with `kerasortho evaluate {self.path} --manifest other.csv`; or train a new run."
        )

    def load_model(self) -> keras.Model:
        """Return the best model. Raises KerasOrthoError if training has not ended, or the file would run any code."""
        if not self.complete:
            raise KerasOrthoError(
                f"{self.path} has no model.keras yet: its training has not ended. "
                f"Continue it with `kerasortho fit --resume {self.path}`."
            )
        import keras

        try:
            return keras.saving.load_model(self.path / "model.keras", compile=False, safe_mode=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise KerasOrthoError(f"{self.path / 'model.keras'} cannot be loaded: {_why_not(str(error))}") from None

    def history(self) -> list[dict[str, float]]:
        """Return one dict an epoch, in order; empty before the first epoch has ended."""
        file = self.path / "history.csv"
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as lines:
            return [{k: float(v) for k, v in row.items() if v != ""} for row in csv.DictReader(lines)]

    def write_history(self, rows: Sequence[dict[str, float]]) -> None:
        """Write one row an epoch, atomically."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "history.csv", text.getvalue())

    def metrics(self) -> dict[str, Any]:
        """Return all results so far, by split."""
        file = self.path / "metrics.json"
        return self._read_json("metrics.json") if file.is_file() else {}

    def write_metrics(self, split: str, values: dict[str, Any]) -> None:
        """Add or replace the results of one split in metrics.json."""
        write_json(self.path / "metrics.json", {**self.metrics(), split: values})

    def document(self, name: str) -> dict[str, Any]:
        """Return what NAME.json of the run says, such as "plan" or "environment". Raises KerasOrthoError without it."""
        return self._read_json(f"{name}.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        if not self.path.is_dir():
            parent = self.path.parent
            known = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
            raise KerasOrthoError(f"There is no run directory {self.path}.{did_you_mean(self.path.name, known)}")
        try:
            return read_json(file)
        except FileNotFoundError:
            raise KerasOrthoError(
                f"{self.path} is not a run directory: it has no {name}. `kerasortho fit` makes run directories."
            ) from None


def _why_not(keras_says: str) -> str:
    """Return why a model cannot be loaded. What would run code is never loaded; Keras would tell how to do it."""
    found = re.search(r"Could not locate (\w+ '\w+')", keras_says)
    code = "a Lambda layer" if "safe_mode=False" in keras_says else f"the {found[1]}" if found else ""
    if not code:
        return keras_says.splitlines()[0]
    return (
        f"it needs {code}, which is not Keras's own, and would run code that came with the model. kerasortho never "
        "loads such models: build it of Keras's layers and functions, and train it again."
    )


def require_new(folder: Path) -> None:
    """Raise KerasOrthoError if ``folder`` holds anything but a lock."""
    if not folder.exists() or all(p.name == ".lock" for p in folder.iterdir()):
        return
    if (folder / "model.keras").is_file():
        raise KerasOrthoError(
            f"{folder} exists already, and its training has ended: judge it with `kerasortho evaluate {folder}`, or "
            "choose another --name to train anew."
        )
    go_on = f"Continue it with `kerasortho fit --resume {folder}`" if (folder / "data.json").is_file() else "Remove it"
    raise KerasOrthoError(f"{folder} exists already. {go_on}, or choose another --name.")


def _split_table(samples: SampleSet, config: Config) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "group", "split", "label"])
    for s in samples.samples:
        label = samples.classes[s.label] if config.task == "classification" else ""
        writer.writerow([s.name, s.group, s.split, label])
    return text.getvalue()
