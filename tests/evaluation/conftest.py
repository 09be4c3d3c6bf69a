"""The makers of tiny runs, as a fixture."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The functions of tiny.py."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny.py"))))
