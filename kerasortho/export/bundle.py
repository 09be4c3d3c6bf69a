"""A folder for an edge device: a converted model, what it needs to know, and one file that runs it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from kerasortho.edge import run as runner
from kerasortho.errors import KerasOrthoError
from kerasortho.export.edge_files import Conversion
from kerasortho.files import atomic_folder, require_writable

PREFERRED = ("int8", "dynamic-int8", "fp16", "fp32")  # the first that passed goes into the bundle
REQUIREMENTS = ("numpy>=1.26", "opencv-python-headless>=4.10", "ai-edge-litert>=2.0")  # as in setup.cfg


def require_bundle(folder: Path, formats: Sequence[str]) -> None:
    """Raise KerasOrthoError if no bundle of ``formats`` could be written to ``folder``; asked before long work."""
    if not set(formats) & set(PREFERRED):
        raise KerasOrthoError(
            f"--bundle holds a LiteRT model, and --formats names none. Add one of {', '.join(PREFERRED)}."
        )
    _require_new(folder)


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KerasOrthoError(f"--bundle {folder} exists and is not empty. Name a new folder, or remove that one.")
    require_writable(folder.parent)


def write_bundle(conversion: Conversion, folder: Path) -> str:
    """Write the bundle, whole or not at all, and return the format of the model in it.

    Raises KerasOrthoError if no LiteRT format has passed, or the folder cannot be written.
    """
    _require_new(folder)
    passed = [name for name in PREFERRED if name in conversion.models and not conversion.models[name].failure]
    if not passed:
        raise KerasOrthoError(
            f"No bundle was made: none of the formats {', '.join(PREFERRED)} has been made and passed."
        )
    model = conversion.models[passed[0]].file
    assert model is not None  # what passed was written
    with atomic_folder(folder) as temporary:
        shutil.copyfile(model, temporary / "model.tflite")
        shutil.copyfile(model.with_suffix(".json"), temporary / "model.json")
        shutil.copyfile(runner.__file__, temporary / "run.py")
        (temporary / "requirements.txt").write_text("\n".join(REQUIREMENTS) + "\n", encoding="utf-8")
    return passed[0]
