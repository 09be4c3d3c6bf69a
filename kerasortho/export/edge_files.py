"""What `kerasortho convert` writes: models for edge devices, what travels with each, and the results of all.

::

    exported/NAME/edge-VERSION/       beside the versions; servers skip names that are no numbers
      NAME-FORMAT.tflite  .onnx       the models that passed
      NAME-FORMAT.json                labels, preprocessing, threshold; names the model file by its SHA-256
      formats.json                    size, latency, score and drop of every format, those that failed included
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kerasortho import __version__
from kerasortho.export.formats import FORMATS
from kerasortho.files import atomic_path, read_json, write_json

RESULTS = "formats.json"
METADATA_FORMAT = 1  # the FORMAT that kerasortho/edge/run.py reads


@dataclass
class Converted:
    """A model in one format: its bytes, what was found out about it, why it failed, or the file it was written to.

    One that could not be made has no bytes.
    """

    name: str
    content: bytes
    facts: dict[str, Any]
    failure: str = ""
    file: Path | None = None


@dataclass
class Conversion:
    """What `convert` has done: the folder of the files, the models by format, and what they were checked on."""

    folder: Path
    checked_on: dict[str, Any]
    models: dict[str, Converted] = field(default_factory=dict)

    @property
    def failed(self) -> list[Converted]:
        """The formats that lost more than allowed, or could not be made."""
        return [model for model in self.models.values() if model.failure]


def write_files(conversion: Conversion, card: dict[str, Any]) -> None:
    """Write the models that passed with their metadata, and the results of all.

    Older files of formats that failed now are removed. Results of formats that were not asked for stay as long as their
    files do.
    """
    folder, file = conversion.folder, conversion.folder / RESULTS
    results = read_json(file).get("formats", {}) if file.is_file() else {}
    results = {name: old for name, old in results.items() if old.get("file") and (folder / old["file"]).is_file()}
    for name, model in conversion.models.items():
        path = folder / f"{card['name']}-{name}{FORMATS[name].suffix}"
        entry = {**model.facts, "checked_on": conversion.checked_on}
        if model.failure:
            for old in (path, path.with_suffix(".json")):
                old.unlink(missing_ok=True)
            results[name] = {**entry, "reason": model.failure}
            continue
        with atomic_path(path) as temporary:
            temporary.write_bytes(model.content)
        model.file = path
        results[name] = {"file": path.name, **entry}
        write_json(path.with_suffix(".json"), metadata(card, name, results[name]))
    write_json(file, {"name": card["name"], "version": card["version"], "formats": results})


def metadata(card: dict[str, Any], name: str, results: dict[str, Any]) -> dict[str, Any]:
    """Return what travels with a converted model: all that its answers depend on, and how good they are."""
    wanted = (
        "name", "version", "task", "classes", "preprocessing", "max_pixels", "threshold", "temperature", "architecture",
        "model_sha256",
    )  # fmt: skip
    return {
        "format": METADATA_FORMAT,
        **{key: card[key] for key in wanted if key in card},
        "quantisation": name,
        "sha256": results["sha256"],
        "results": results,
        "kerasortho": __version__,
        "converted": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "intended_use": card["intended_use"],
    }
