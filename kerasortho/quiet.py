"""TensorFlow and Matplotlib without their chatter, for the command line and for the functions of the package."""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TextIO

from kerasortho.errors import KerasOrthoError
from kerasortho.files import require_writable

# A process of its own, so that it outlives one that is ended by C++: it reads to the end, then shows the last lines.
_KEEPER = "import collections, sys; sys.stderr.buffer.writelines(collections.deque(sys.stdin.buffer, 50))"


def quiet_libraries() -> None:
    """Keep to themselves what TensorFlow and Matplotlib would write on stderr of their own accord."""
    quiet_tensorflow()
    quiet_matplotlib()


def quiet_matplotlib() -> None:
    """Give Matplotlib a temporary folder where it cannot write its own, which it would complain about; else nothing."""
    if "matplotlib" in sys.modules or os.environ.get("MPLCONFIGDIR"):
        return
    for variable, usual in (("XDG_CONFIG_HOME", "~/.config"), ("XDG_CACHE_HOME", "~/.cache")):
        try:
            require_writable(Path(os.environ.get(variable) or os.path.expanduser(usual)) / "matplotlib")
        except KerasOrthoError:
            folder = tempfile.mkdtemp(prefix="kerasortho-matplotlib-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ["MPLCONFIGDIR"] = folder
            return


def quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up chatter off the terminal, whenever and by whomever TensorFlow is imported later.

    ``TF_CPP_MIN_LOG_LEVEL`` alone does not: since TensorFlow 2.18 the first lines are logged before it is read
    (tensorflow#100442). So stderr is held back while TensorFlow is imported and lists its devices, and shown if that
    fails. Does nothing if TensorFlow is loaded already or if the user has set ``TF_CPP_MIN_LOG_LEVEL``.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors only
    sys.meta_path.insert(0, _QuietFinder())


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Finds tensorflow the usual way, once, and makes its import a silent one."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_quietly(module: ModuleType) -> None:
            with stderr_held_back():
                load(module)
                module.config.list_physical_devices()  # here, or the same chatter comes with the first tensor

        spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def stderr_held_back() -> Iterator[None]:
    """Send file descriptor 2, which C++ writes to, into a temporary file; show it only if the block raises."""
    if (saved := _copy_of_stderr()) is None:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextmanager
def only_python_on_stderr() -> Iterator[None]:
    """Keep what C++ writes to file descriptor 2 off stderr; show its last lines if the process dies within the block.

    Python's own words, log and tracebacks included, appear as ever. For long blocks: nothing grows meanwhile.
    """
    if (saved := _copy_of_stderr()) is None:
        yield
        return
    before = sys.stderr
    command = [sys.executable, "-I", "-c", _KEEPER]
    # Stays open: a thread that goes on after the block may still write to it.
    direct = os.fdopen(saved, "w", buffering=1, encoding=before.encoding, errors="backslashreplace", closefd=False)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as keeper:
        assert keeper.stdin is not None
        os.dup2(keeper.stdin.fileno(), 2)
        if _writes_to_descriptor_2(before):
            sys.stderr = direct
        try:
            yield
        finally:
            sys.stderr = before
            os.dup2(saved, 2)
            keeper.kill()


def _copy_of_stderr() -> int | None:
    """Return another descriptor of what 2 stands for; None where there is no stderr to keep anything off."""
    try:
        sys.stderr.flush()
        return os.dup(2)
    except (AttributeError, OSError, ValueError):
        return None


def _writes_to_descriptor_2(stream: TextIO) -> bool:
    with suppress(OSError, ValueError):  # such as a text in memory
        return stream.fileno() == 2
    return False
