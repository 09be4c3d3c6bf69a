"""Models for the runner: converted from the tiny runs of the tests of evaluation."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


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
def bundles(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of each, with the float32 model and, as NAME-int8, with the int8 one; the files of the other formats."""
    pytest.importorskip("litert_quantizer")
    from kerasortho.export.bundle import write_bundle
    from kerasortho.export.convert import convert
    from kerasortho.export.export import export

    folder, made = tmp_path_factory.mktemp("edge"), {}
    for name, run in runs.items():
        made[name] = folder / "bundles" / name
        exported = export(run, folder)
        assert write_bundle(convert(exported, run=run, formats=["fp32"]), made[name]) == "fp32"
        smaller = convert(exported, run=run, formats=["int8", "dynamic-int8", "fp16"], calibration_images=3)
        assert write_bundle(smaller, folder / "bundles" / f"{name}-int8") == "int8"
        made[f"{name}-int8"] = folder / "bundles" / f"{name}-int8"
        made |= {f"{name}-{form}": smaller.folder / f"{name}-{form}.tflite" for form in ("dynamic-int8", "fp16")}
    return made
