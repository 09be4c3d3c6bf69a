"""What a run sets in TensorFlow before it builds anything, and what it writes down about the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import keras
import tensorflow as tf

from kerasortho import __version__
from kerasortho.config import TrainingConfig
from kerasortho.machine import ONEDNN, available_memory, processor_count

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python", "opencv-python-headless", "pydicom")


def prepare_runtime(training: TrainingConfig) -> None:
    """Seed every generator, set determinism and precision, and let GPUs share their memory.

    Seeds alone do not make training on a CPU repeatable: threads add in any order. `enable_op_determinism` does.
    """
    keras.utils.set_random_seed(training.seed)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(training.mixed_precision)
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # the GPU is in use already, as in a notebook
            tf.config.experimental.set_memory_growth(gpu, True)


def environment(seed: int) -> dict[str, Any]:
    """Return versions, machine and seed, for environment.json. Nothing in it names a person or a patient."""
    return {
        "kerasortho": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "processors": processor_count(),
        "variables": _variables(),
        "memory_available_bytes": available_memory(),
        "gpus": [tf.config.experimental.get_device_details(g).get("device_name", g.name)
                 for g in tf.config.list_physical_devices("GPU")],
        "seed": seed,
        "command": [argument for argument in sys.argv[1:]],
    }  # fmt: skip


def changed_software(began: Mapping[str, Any]) -> list[str]:
    """Return what has changed since environment.json ``began`` was written, such as "keras 3.14 -> 3.15"."""
    now = {"kerasortho": __version__, **package_versions(), **_variables()}
    before = {"kerasortho": began.get("kerasortho"), **began.get("packages", {}), **began.get("variables", {})}
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name} {before.get(name) or 'absent'} -> {now.get(name) or 'absent'}" for name in names]


def _variables() -> dict[str, str]:
    """Return the environment variables that decide results, as far as they are set."""
    return {name: os.environ[name] for name in (ONEDNN,) if name in os.environ}


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide results, as far as they are installed."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process has held at once (resident set size); None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
