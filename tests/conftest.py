"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real radiographs (data/FracAtlas, data/FracAtlas-bones, data/dicom) and weights/."""
    folder = os.environ.get("KERASORTHO_REAL_DATA")
    if not folder:
        pytest.skip("KERASORTHO_REAL_DATA is not set: it must name the folder that holds data/FracAtlas and weights/")
    path = Path(folder)
    assert (path / "data" / "FracAtlas" / "dataset.csv").is_file(), f"{folder} (KERASORTHO_REAL_DATA) lacks FracAtlas"
    return path
