"""tools/demo: what it keeps, what it deletes, what it says. Its commands are stand-ins: nothing is trained here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = """
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
use_environment() { PATH="$root/bin:$PATH"; }
"""
KERASORTHO = """#!/bin/sh
echo "$*" >> calls.txt
if [ "$1" = "$FAIL_AT" ]; then exit 1; fi
if [ "$1 $2" = "data phantom" ]; then
    mkdir -p "$3"
    touch "$3/1.png"
    printf 'image,split\\n1.png,test\\n' > "$3/manifest.csv"
fi
if [ "$1" = predict ]; then echo '{"label": "lower"}'; touch "${5:-$2}/1_overlay.png"; fi
if [ "$1" = fit ]; then mkdir -p "$6/$8"; fi
"""


class Clone:
    """A fresh clone whose ``kerasortho`` only notes how it was called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in (("tools/environment.sh", ENVIRONMENT), ("bin/kerasortho", KERASORTHO)):
            (root / name).parent.mkdir(parents=True)
            (root / name).write_text(text)
            (root / name).chmod(0o755)
        shutil.copy(ROOT / "tools/demo", root / "tools/demo")
        (root / "bin/python").symlink_to(sys.executable)

    def demo(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run tools/demo."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "FAIL_AT": "", **variables}
        command = ["bash", str(self.root / "tools/demo"), *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.root, env=environment, check=False)

    def calls(self) -> list[str]:
        """Return the commands of kerasortho that were called since the last time."""
        file = self.root / "calls.txt"
        calls = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [call.split()[0] for call in calls]


ALL = ["data", "fit", "evaluate", "fit", "evaluate", "predict", "predict"]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "a clone")


def test_one_command_without_arguments_makes_everything_and_says_what_to_open(clone: Clone) -> None:
    answer = clone.demo()
    assert answer.returncode == 0, answer.stderr
    assert clone.calls() == ALL
    first = answer.stdout.split("Open these pictures first:\n")[1].splitlines()[0].strip()
    assert first.startswith(f"{clone.root}/demo/bone/figures/test-cases.png")
    assert f"{clone.root}/demo/predictions/1_overlay.png" in answer.stdout
    assert answer.stdout.index(".png") < answer.stdout.index("metrics.json")
    assert ".venv/bin/activate\n  kerasortho --help" in answer.stdout


def test_a_finished_demo_is_kept_unless_another_is_asked_for(clone: Clone) -> None:
    clone.demo()
    clone.calls()
    note = clone.root / "demo/predictions/my-note.txt"
    note.write_text("")
    answer = clone.demo()
    assert (answer.returncode, clone.calls()) == (0, []) and note.exists()
    assert "finished demo already (tools/demo --again makes it anew)" in answer.stdout
    assert "Open these pictures first" in answer.stdout
    assert clone.demo("elsewhere").returncode == 0
    assert clone.calls() == ALL and note.exists() and (clone.root / "elsewhere/limb").is_dir()
    assert clone.demo("--again").returncode == 0
    assert clone.calls() == ALL and not note.exists()


def test_an_unfinished_demo_is_started_again_and_that_is_said(clone: Clone) -> None:
    assert clone.demo(FAIL_AT="evaluate").returncode == 1
    assert clone.calls() == ["data", "fit", "evaluate"]
    answer = clone.demo()
    assert "The demo in demo was not finished: starting again." in answer.stdout
    assert (answer.returncode, clone.calls()) == (0, ALL)


def test_another_folders_files_are_left_alone(clone: Clone) -> None:
    (clone.root / "predictions").mkdir()
    (clone.root / "predictions/mine.png").write_text("")
    answer = clone.demo("--again", ".")
    assert answer.returncode == 2 and "holds no demo" in answer.stderr
    assert (clone.root / "predictions/mine.png").exists() and clone.calls() == []


@pytest.mark.parametrize("words", [["--agian"], ["one", "two"]])
def test_unknown_words_end_with_2(clone: Clone, words: list[str]) -> None:
    answer = clone.demo(*words)
    assert (answer.returncode, answer.stdout) == (2, "") and answer.stderr.startswith("error: tools/demo")
    assert clone.calls() == [] and not (clone.root / "demo").exists()


def test_help(clone: Clone) -> None:
    answer = clone.demo("--help")
    assert answer.returncode == 0 and answer.stdout.startswith("usage: tools/demo [--again] [FOLDER]")
    assert not (clone.root / "demo").exists()
