"""configs/all-settings.yaml is what tools/all_settings.py prints, and a recipe that changes nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from kerasortho.config import Phase, TrainingConfig, load_config
from kerasortho.data.augmentation_spec import Augmentation
from kerasortho.radiograph.preprocessing import Preprocessing

ROOT = Path(__file__).parents[2]
FILE = ROOT / "configs" / "all-settings.yaml"


def test_the_file_is_up_to_date():
    command = [sys.executable, "tools/all_settings.py"]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert printed == FILE.read_text(encoding="utf-8")


def test_every_value_is_the_default_and_every_key_has_a_comment():
    config = load_config(FILE)
    assert config.augmentation == Augmentation() and config.preprocessing == Preprocessing()
    assert config.training == TrainingConfig((Phase(epochs=config.training.phases[0].epochs),))
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    sections = {f"{field.name}:" for field in dataclasses.fields(type(config))}
    assert all(" # " in line for line in lines if line not in sections)
