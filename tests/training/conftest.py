"""Fixtures for the tests of training: tiny data and models, and trainings in processes that can be killed."""

from __future__ import annotations

import itertools
import multiprocessing
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

TINY = Path(__file__).with_name("tiny.py")


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The functions of tiny.py."""
    return SimpleNamespace(**runpy.run_path(str(TINY)))


@pytest.fixture(scope="session")
def tiny_models(tiny: SimpleNamespace) -> None:
    """The models of tiny.py in the registry of this process."""
    tiny.register()


@pytest.fixture(scope="session")
def dataset(tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of the tiny dataset: 22 images to train on, 8 to validate on."""
    return tiny.make_dataset(tmp_path_factory.mktemp("tiny-data"))


class Child:
    """``kerasortho WORDS...`` in a process of its own."""

    def __init__(self, context: Any, words: list[str], log: Path, fault: tuple[str, int, str] | None) -> None:
        self.log = log
        given = {"WORDS": words, "LOG": str(log), "FAULT": fault}
        self.process = context.Process(target=runpy.run_path, args=(str(TINY), given, "__main__"))
        self.process.start()

    def wait(self, seconds: float = 120.0) -> int:
        """Return its exit code; negative for the signal that ended it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running after {seconds} s: {self.output}"
        return int(self.process.exitcode)

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text() if self.log.is_file() else ""


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Child]]:
    """Start the command line in a new process: ``command("fit", file, fault=("last.npz", 3, "after"))``.

    The processes are forked from one that has imported TensorFlow but not used it, where that can be done: five seconds
    less for each. Determinism, which cannot be switched off again, stays out of this process. A fault is the moment at
    which the process kills itself: see ``die_at`` in tiny.py.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(["kerasortho.training.fit", "kerasortho.cli.main"])  # type: ignore[attr-defined]
    folder, numbers, children = tmp_path_factory.mktemp("logs"), itertools.count(), []

    def start(*words: object, fault: tuple[str, int, str] | None = None) -> Child:
        children.append(Child(context, [str(word) for word in words], folder / f"{next(numbers)}.log", fault))
        return children[-1]

    yield start
    for each in children:
        if each.process.is_alive():
            each.process.kill()


@pytest.fixture(scope="session")
def write_config() -> Callable[[Path, dict[str, Any]], Path]:
    """Write a configuration file."""

    def write(path: Path, values: dict[str, Any]) -> Path:
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture(scope="session")
def recipe(
    tiny: SimpleNamespace,
    dataset: Path,
    write_config: Callable[[Path, dict[str, Any]], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A configuration with everything that a resumed training must remember.

    Two phases, the first of which ends early; dropout, augmentation, a last batch that is smaller than the others.
    """
    folder = tmp_path_factory.mktemp("recipe")
    phases = [
        {"epochs": 9, "learning_rate": 1.0, "warmup_epochs": 0, "final_fraction": 1.0},
        {"epochs": 3, "learning_rate": 0.01, "unfreeze_from": "conv2"},
    ]
    values = tiny.settings(dataset, phases=phases, patience=2, seed=3, clip_norm=None)
    values["model"]["options"] = {"dropout": 0.4}
    values["augmentation"] = {"horizontal_flip": True, "brightness": 0.2, "noise": 0.05}
    return write_config(folder / "tiny.yaml", values)


@pytest.fixture(scope="session")
def reference(command: Callable[..., Child], recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of `recipe`, trained in one go, deterministically."""
    runs = tmp_path_factory.mktemp("reference")
    child = command("fit", recipe, "--runs", runs, "--deterministic")
    assert child.wait() == 0, child.output
    return runs / "tiny"


@pytest.fixture(scope="session")
def arrays() -> Callable[[Path], dict[str, np.ndarray]]:
    """Read all arrays of an .npz file."""

    def read(file: Path) -> dict[str, np.ndarray]:
        with np.load(file) as content:
            return {name: content[name] for name in content.files}

    return read
