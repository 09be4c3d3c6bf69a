"""The command ``kerasortho``: its subcommands, and how errors reach the user."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from kerasortho import __version__
from kerasortho.cli.lazy import LazyCommand, LazyGroup
from kerasortho.errors import Interrupted, KerasOrthoError, find_exhausted
from kerasortho.files import explain_os_error
from kerasortho.machine import prefer_onednn
from kerasortho.quiet import quiet_libraries

COMMANDS = {
    "fit": LazyCommand("kerasortho.cli.fit:fit_command", "Train a model from a configuration, or resume a run."),
    "evaluate": LazyCommand("kerasortho.cli.evaluate:evaluate_command", "Measure a trained model on unseen patients."),
    "predict": LazyCommand("kerasortho.cli.predict:predict_command", "Apply a trained model to image files."),
    "export": LazyCommand("kerasortho.cli.export:export_command", "Write a trained model for TensorFlow Serving."),
    "serve": LazyCommand("kerasortho.cli.serve:serve_command", "Answer requests with exported models: REST and gRPC."),
    "convert": LazyCommand("kerasortho.cli.convert:convert_command", "Convert an exported model for edge devices."),
    "verify": LazyCommand("kerasortho.cli.verify:verify_command", "Compare a model's answers by every way to it."),
    "models": LazyCommand("kerasortho.cli.models:models_command", "List the models that can be trained."),
    "doctor": LazyCommand("kerasortho.cli.doctor:doctor_command", "Tell what is installed and whether a GPU is seen."),
}

DATA_COMMANDS = {
    "import": LazyCommand("kerasortho.cli.data_import:import_command", "Write a manifest from folders of images."),
    "check": LazyCommand("kerasortho.cli.data_check:check_command", "Find broken files, bad masks, copies and leaks."),
    "exclude": LazyCommand("kerasortho.cli.data_exclude:exclude_command", "Leave out what a check proposed."),
    "split": LazyCommand("kerasortho.cli.data_split:split_command", "Split by patient into train, val and test."),
    "export": LazyCommand("kerasortho.cli.data_export:export_command", "Write a dataset for nnU-Net, or a COCO file."),
    "cache": LazyCommand("kerasortho.cli.data_cache:cache_command", "List or delete the prepared images on the disk."),
    "phantom": LazyCommand("kerasortho.cli.data_phantom:phantom_command", "Draw synthetic radiographs with masks."),
}

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass
class Session:
    """What ``main`` and the commands share: whether the user wants to see tracebacks."""

    debug: bool


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kerasortho")
@click.option("--debug", is_flag=True, help="Show tracebacks and TensorFlow's own log (or set KERASORTHO_DEBUG=1).")
@click.pass_obj
def cli(session: Session | None, debug: bool) -> None:
    """Deep learning on orthopaedic radiographs: segment bone, recognise limbs, measure how well.

    Research use; not a medical device.
    """
    prefer_onednn()
    if os.environ.get("KERASORTHO_MAX_PIXELS"):  # mistyped, it would make every single file unreadable
        from kerasortho.radiograph.reading import default_max_pixels

        default_max_pixels()
    if session is not None:
        session.debug = session.debug or debug
        if not session.debug:
            quiet_libraries()


@cli.group("data", cls=LazyGroup, lazy=DATA_COMMANDS, short_help="Import, check and split images; draw phantoms.")
def data_group() -> None:
    """From folders of images to a checked manifest with a split."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: done, and the answer is bad (such as errors found by ``kerasortho data check``) or an unexpected error.
    2: a mistake the user can mend. 130: interrupted.

    Args:
        arguments: the words after ``kerasortho``; None takes them from ``sys.argv``.
    """
    # Radiographs are read in parallel already: more threads in numpy's matrix products only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    session = Session(debug=os.environ.get("KERASORTHO_DEBUG", "") not in ("", "0"))
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = cli.main(words, prog_name="kerasortho", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()
        return 1
    except Exception as error:
        message = explain(error)
        if session.debug or message is None:
            raise
        if isinstance(error, Interrupted):
            click.echo(_paragraph(message), err=True)
            return INTERRUPTED
        click.echo(_paragraph(f"Error: {message}"), err=True)
        return USER_ERROR
    return code if isinstance(code, int) else 0


def explain(error: BaseException) -> str | None:
    """Return what the user should read instead of a traceback; None for an error that nobody has foreseen."""
    if isinstance(error, KerasOrthoError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"Out of memory{_detail(error)}. Use a smaller batch or image size, or cache images on disk."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(explain_os_error(OSError(errno.ENOSPC, error.strerror), Path(error.filename or ".").absolute()))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror or error}: {error.filename}. Is the path right, and may you read and write there?"
    if isinstance(error, ImportError) and not (error.name or "").startswith("kerasortho"):
        return f"A package is missing or broken: {error}. `kerasortho doctor` tells which and how to install it."
    return _explain_tensorflow_error(error)


def _explain_tensorflow_error(error: BaseException) -> str | None:
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    found = find_exhausted(error)
    if found is None:
        return None
    what, reason = found
    if what == "disk":
        return f"No space left on the disk: {reason}. Free some space, or choose another disk."
    return (
        f"Out of memory while computing: {reason}. Use a smaller batch or image size or mixed precision, "
        "and see with nvidia-smi whether another program holds the GPU's memory."
    )


def _detail(error: BaseException) -> str:
    return f" ({error})" if str(error) else ""


def _paragraph(text: str) -> str:
    """Wrap for a terminal; leave the lines whole for a log file, where people search for phrases."""
    if not sys.stderr.isatty():
        return text
    width = min(100, shutil.get_terminal_size().columns)
    lines = (textwrap.fill(x, width, break_long_words=False, break_on_hyphens=False) for x in text.splitlines())
    return "\n".join(lines)


def _let_go_of_stdout() -> None:
    """The reader has gone (as in ``| head``): what is left to write goes nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
