"""One small phantom dataset, shared by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasortho.data.manifest import Manifest
from kerasortho.data.phantom import PhantomSettings, generate_phantoms


@pytest.fixture(scope="session")
def small() -> PhantomSettings:
    """Settings for 64 tiny pictures: enough for several processes."""
    return PhantomSettings(patients=32, views=2, size=32, seed=5)


@pytest.fixture(scope="session")
def small_dataset(small: PhantomSettings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A folder with 64 pictures of 32 patients, and its manifest."""
    folder = tmp_path_factory.mktemp("phantom") / "dataset"
    return folder, generate_phantoms(folder, small, processes=1)
