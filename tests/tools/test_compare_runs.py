"""tools/compare_runs.py: paired differences between ways of training."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "compare_runs.py"


def write_run(folder: Path, dice: dict[str, str]) -> None:
    (folder / "predictions").mkdir(parents=True)
    with (folder / "predictions" / "test.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["image", "group", "dice"], *([name, name[0], value] for name, value in dice.items())])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two folds a way; "empty" has no foreground and "alone" was tested in one way only."""
    write_run(tmp_path / "plain-0", {f"a{n}": "0.80" for n in range(12)} | {"alone": "0.1", "empty": ""})
    write_run(tmp_path / "plain-1", {f"{letter}0": "0.60" for letter in "bcdefghijklm"})
    write_run(tmp_path / "better-0", {f"a{n}": "0.83" for n in range(12)} | {"empty": ""})
    write_run(tmp_path / "better-1", {f"{letter}0": "0.65" for letter in "bcdefghijklm"})
    return tmp_path


def test_differences_are_paired_and_named(runs: Path) -> None:
    words = [sys.executable, str(TOOL), f"plain={runs}/plain-*", f"better={runs}/better-*"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "24 images of 13 groups, each tested 1 times" in printed
    plain, better = (line for line in printed.splitlines() if line.startswith(("| plain", "| better")))
    assert "0.7000" in plain
    assert "+0.0400" in better
    assert "24 of 24" in better
    low, high = (float(part) for part in better.split("+0.0400 (")[1].split(")")[0].split(" to "))
    assert 0.03 <= low < 0.04 < high <= 0.05


def test_a_pattern_without_runs_is_named(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, str(TOOL), f"x={tmp_path}/none-*"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "there are no such runs" in found.stderr
