"""The command line as users meet it: quick help, did-you-mean, errors without tracebacks, exit codes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from kerasortho import __version__
from kerasortho.cli import main as main_module
from kerasortho.cli.lazy import LazyCommand
from kerasortho.cli.main import COMMANDS, DATA_COMMANDS, cli, main
from kerasortho.errors import KerasOrthoError

ROOT = Path(__file__).parents[2]


def in_a_new_process(*words: str, code: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, or ``code``, as a user would."""
    what = ["-c", textwrap.dedent(code)] if code else ["-m", "kerasortho.cli.main"]
    kept = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "KERASORTHO_DEBUG")}
    command = [sys.executable, *what, *words]
    environment = {**kept, **variables}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


@pytest.fixture
def failing(monkeypatch):
    """Make ``kerasortho fail`` raise what the test wants."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")  # leave this process's imports alone
    monkeypatch.delenv("KERASORTHO_DEBUG", raising=False)

    def prepare(error: BaseException) -> None:
        @click.command("fail")
        def fail() -> None:
            raise error

        monkeypatch.setattr(main_module, "_failing_command", fail, raising=False)
        monkeypatch.setitem(cli.lazy, "fail", LazyCommand("kerasortho.cli.main:_failing_command", "Fail."))

    return prepare


def test_help_is_quick_and_imports_nothing_heavy():
    code = """
        import sys
        import time
        from kerasortho.cli.main import main
        assert main(["--help"]) == 0
        assert main(["data", "--help"]) == 0
        heavy = {"tensorflow", "keras", "numpy", "cv2", "pydicom", "matplotlib", "yaml"} & set(sys.modules)
        assert not heavy, heavy
        print(time.process_time(), file=sys.stderr)
    """
    answers = [in_a_new_process(code=code) for _ in range(3)]
    for answer in answers:
        assert answer.returncode == 0, answer.stderr
    for name in [*COMMANDS, *DATA_COMMANDS]:
        assert f"  {name} " in answers[0].stdout
    assert min(float(answer.stderr) for answer in answers) < 0.4  # seconds of processor: other processes do not count


def test_every_command_can_be_loaded_without_tensorflow():
    code = """
        import sys
        import click
        from kerasortho.cli.main import cli, data_group
        for group in (cli, data_group):
            for name in group.lazy:
                command = group.get_command(click.Context(group), name)
                assert command.help, name
        assert "tensorflow" not in sys.modules
    """
    answer = in_a_new_process(code=code)
    assert answer.returncode == 0, answer.stderr


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kerasortho, version {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["fti"], 'No such command "fti". Did you mean "fit"?'),
        (["data", "chekc"], 'No such command "chekc". Did you mean "check"?'),
        (["doctor", "--jsno"], "--json"),
        (["--debgu"], "--debug"),
        (["xyzzy"], 'No such command "xyzzy".'),
    ],
)
def test_mistyped_words_get_a_hint(words, hint, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert hint in error and "Traceback" not in error and "--help" in error


def test_user_error_is_one_paragraph_without_traceback(failing, capsys):
    failing(KerasOrthoError("leg.png is truncated. Copy it again."))
    assert main(["fail"]) == 2
    assert capsys.readouterr() == ("", "Error: leg.png is truncated. Copy it again.\n")


def test_paragraph_is_wrapped_for_a_terminal(failing, capsys, monkeypatch):
    failing(KerasOrthoError("word " * 40 + "/a/long/path-with-hyphens/" + "x" * 60 + "\nlast line"))
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["fail"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "last line"
    assert all(len(line) <= 50 for line in lines if "/" not in line)
    assert any("/a/long/path-with-hyphens/" + "x" * 60 in line for line in lines)  # paths stay whole: people copy them


@pytest.mark.parametrize("wanted", ["flag", "variable"])
def test_debug_shows_the_traceback(failing, monkeypatch, wanted):
    failing(KerasOrthoError("leg.png is truncated."))
    if wanted == "variable":
        monkeypatch.setenv("KERASORTHO_DEBUG", "1")
    with pytest.raises(KerasOrthoError):
        main(["--debug", "fail"] if wanted == "flag" else ["fail"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 9 GiB"), ["Out of memory", "Unable to allocate 9 GiB", "smaller batch"]),
        (OSError(errno.ENOSPC, "No space left on device", "runs/a.npz"), ["No space left", "runs/a.npz", "Free some"]),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "m.csv"), ["No such file or directory: m.csv"]),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), ["Permission denied: runs"]),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), ["No module named 'cv2'", "kerasortho doctor"]),
    ],
)
def test_errors_of_the_machine_are_explained(failing, capsys, error, words):
    failing(error)
    assert main(["fail"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("Error: ") and message.count("\n") == 1
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("OOM when allocating tensor with shape[64,256,256,64]", ["Out of memory", "shape[64,256,256,64]", "batch"]),
        ("runs/x.tmp; No space left on device", ["No space left on the disk", "runs/x.tmp"]),
    ],
)
def test_exhausted_device_is_explained(failing, capsys, reason, words):
    import tensorflow as tf

    failing(tf.errors.ResourceExhaustedError(None, None, f"{reason}\nand forty lines more"))
    assert main(["fail"]) == 2
    message = capsys.readouterr().err
    assert "forty lines" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("error", [ValueError("a bug"), ImportError("a bug", name="kerasortho.nothing")])
def test_bugs_keep_their_traceback(failing, error):
    failing(error)
    with pytest.raises(type(error), match="a bug"):
        main(["fail"])


def test_mistyped_limit_is_told_before_any_file_is_read(tmp_path, monkeypatch, capsys):
    (tmp_path / "m.csv").write_text("image\na.png\n")
    monkeypatch.setenv("KERASORTHO_MAX_PIXELS", "abc")
    assert main(["data", "check", str(tmp_path / "m.csv"), "--exclude-broken"]) == 2
    assert 'KERASORTHO_MAX_PIXELS is "abc"' in capsys.readouterr().err
    assert (tmp_path / "m.csv").read_text() == "image\na.png\n"


def test_interrupt(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["fail"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_reader_that_goes_away_is_no_error():
    code = """
        import sys
        import click
        from kerasortho.cli import main as m
        m._many = click.Command("many", callback=lambda: [click.echo("line") for _ in range(100_000)])
        m.cli.lazy["many"] = m.LazyCommand("kerasortho.cli.main:_many", "")
        sys.exit(m.main(["many"]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 1


def test_tensorflow_starts_without_chatter():
    answer = in_a_new_process("models")
    assert answer.returncode == 0
    assert "resnet50" in answer.stdout and "unet" in answer.stdout
    assert answer.stderr == ""


@pytest.mark.parametrize(("name", "option"), [("resnet50", "weights"), ("unet", "depth")])
def test_models_describes_one_model(name, option, capsys, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    assert main(["models", name]) == 0
    assert f"  {option}: " in capsys.readouterr().out


def test_models_with_a_mistyped_name(capsys, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    assert main(["models", "resnet5"]) == 2
    assert 'Did you mean "resnet50"?' in capsys.readouterr().err
