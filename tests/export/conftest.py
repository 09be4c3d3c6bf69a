"""Tiny runs to export; the makers are those of the tests of evaluation."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

# kerasortho cannot be imported, nor Keras: what a server has.
BARE = """
import sys
sys.modules.update(dict.fromkeys(["kerasortho", "keras", "tf_keras"]))
"""


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The functions of tests/evaluation/tiny.py."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "evaluation" / "tiny.py")))


@pytest.fixture(scope="session")
def runs(tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run directory of a classifier and one of a segmenter."""
    manifest = tiny.make_dataset(tmp_path_factory.mktemp("runs") / "data")
    made = {"limb": tiny.make_run(manifest, tiny.classifier(), name="limb")}
    made["bone"] = tiny.make_run(manifest, tiny.segmenter(), "segmentation", name="bone")
    return {name: run.path for name, run in made.items()}


@pytest.fixture(scope="session")
def exported(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both models exported."""
    from kerasortho.export.export import export

    folder = tmp_path_factory.mktemp("exported")
    for run in runs.values():
        export(run, folder)
    return folder


@pytest.fixture(scope="session")
def bare_python() -> Callable[..., str]:
    """Run a program in a fresh process that has TensorFlow, but neither kerasortho nor Keras; return what it prints."""

    def run(program: str, *words: object) -> str:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-I", "-c", BARE + program, *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def convertible(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the exported models to convert: the other tests' folder stays as `kerasortho export` left it."""
    pytest.importorskip("litert_quantizer")
    return Path(shutil.copytree(exported, tmp_path_factory.mktemp("convertible") / "exported"))
