"""`kerasortho fit` at the command line: what it takes, how quickly it complains, what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from kerasortho.cli.main import main
from kerasortho.errors import Interrupted

ROOT = Path(__file__).parents[2]
VALUES = {
    "name": "tiny",
    "task": "segmentation",
    "data": {"manifest": "nowhere.csv"},
    "model": {"name": "unet"},
    "training": {"phases": [{"epochs": 1}]},
}


@pytest.fixture
def config(tmp_path):
    """A configuration file that is right, but for its manifest."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(VALUES))
    return path


QUICK = """
import sys
from kerasortho.cli.main import main
code = main()
assert "tensorflow" not in sys.modules  # which takes seconds to load
sys.exit(code)
"""


def in_a_new_process(*words: object, folder: Path, quick: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would; ``quick``: and see that TensorFlow has not been loaded."""
    kept = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "KERASORTHO_DEBUG")}
    what = ["-c", QUICK] if quick else ["-m", "kerasortho.cli.main"]
    command = [sys.executable, *what, "fit", *map(str, words)]
    environment = {**kept, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.fixture
def training(monkeypatch):
    """Replace the training itself; what it was asked for is in ``calls``."""
    fit_module = pytest.importorskip("kerasortho.training.fit")
    calls = []

    def record(*args, **kwargs):
        calls.append((args, kwargs))
        return SimpleNamespace(path=Path("runs") / "tiny")

    monkeypatch.setattr(fit_module, "fit", record)
    monkeypatch.setattr(fit_module, "resume", record)
    return calls


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--set", "training.epoch=3"], ['"training.epoch"', 'Did you mean "training.epochs"?']),
        (["--set", "data.manfest=a.csv"], ["--set data.manfest: ", 'Did you mean "manifest"?']),
        (["--set", "training.epochs=many"], ["must be a whole number"]),
        (["--set", "epochs"], ["--set wants KEY=VALUE"]),
        (None, ["There is no configuration file", "tiny.yaml"]),
    ],
)
def test_a_wrong_configuration_is_told_at_once(config, tmp_path, change, words):
    words_after_fit = [config, *change] if change else [tmp_path / "tinny.yaml"]
    answer = in_a_new_process(*words_after_fit, folder=tmp_path, quick=True)
    assert answer.returncode == 2 and answer.stdout == ""
    assert answer.stderr.startswith("Error: ") and answer.stderr.count("\n") == 1
    assert all(word in answer.stderr for word in words), answer.stderr
    assert os.listdir(tmp_path) == ["tiny.yaml"]


def test_a_wrong_run_is_told_at_once(tmp_path):
    answer = in_a_new_process("--resume", "nowhere", folder=tmp_path, quick=True)
    assert answer.returncode == 2 and answer.stderr.startswith("Error: There is no run directory nowhere.")


def test_a_missing_manifest(config, tmp_path):
    answer = in_a_new_process(config, folder=tmp_path)
    assert answer.returncode == 2 and answer.stdout == ""
    lines = answer.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: data.manifest: there is no file nowhere.csv."), answer.stderr
    assert str(tmp_path.resolve()) in lines[0] and "current folder" in lines[0]
    assert os.listdir(tmp_path) == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Name a configuration"),
        (["a.yaml", "--resume", "runs/a"], "one of the two"),
        (["--resume", "runs/a", "--set", "training.epochs=3"], "do not apply"),
        (["--resume", "runs/a", "--name", "b"], "do not apply"),
        (["--resume", "runs/a", "--deterministic"], "do not apply"),
        (["a.yaml", "b.yaml"], "unexpected extra argument"),
    ],
)
def test_what_cannot_be_meant(capsys, words, told):
    assert main(["fit", *words]) == 2
    assert told in capsys.readouterr().err


def test_all_that_is_asked_for_is_passed_on(config, training, capsys):
    words = ["--runs", "elsewhere", "--name", "other", "--set", "training.epochs=3", "--set", "training.seed=5"]
    assert main(["fit", str(config), *words, "--deterministic"]) == 0
    (recipe,), options = training[0]
    assert options == {"runs": "elsewhere", "name": "other"}
    assert recipe.epochs == 3 and recipe.training.seed == 5 and recipe.training.deterministic
    assert capsys.readouterr().out.strip() == str(Path("runs") / "tiny")  # for scripts: run=$(kerasortho fit ...)


def test_deterministic_only_when_asked_for(config, training):
    assert main(["fit", str(config)]) == 0
    (recipe,), options = training[0]
    assert not recipe.training.deterministic and options == {"runs": "runs", "name": None}


def test_interrupted_is_130_and_no_error(config, training, monkeypatch, capsys):
    def stop(*args, **kwargs):
        raise Interrupted("Stopped in epoch 2; everything is saved. Go on with: kerasortho fit --resume runs/tiny")

    monkeypatch.setattr("kerasortho.training.fit.fit", stop)
    assert main(["fit", str(config)]) == 130
    told = capsys.readouterr().err
    assert told.startswith("Stopped in epoch 2") and "Error" not in told


def test_help(capsys):
    assert main(["fit", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--resume RUN" in told and "--set KEY=VALUE" in told and "--deterministic" in told
