"""What the command line loads late: a command's module when it is called, and TensorFlow, quietly, when needed."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NamedTuple

import click

from kerasortho.errors import did_you_mean


class LazyCommand(NamedTuple):
    """Where a command is (``"package.module:attribute"``) and its one line in the list of commands."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that ``--help`` costs no import of them.

    Takes all arguments of ``click.Group``, and ``lazy``: the commands by name, in the order of the list.
    """

    def __init__(self, *args: object, lazy: Mapping[str, LazyCommand], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.lazy = dict(lazy)

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names: commands added the usual way, then the lazy ones in their own order."""
        return [*super().list_commands(context), *self.lazy]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of that name, importing its module; None if there is no such command."""
        if name not in self.lazy:
            return super().get_command(context, name)
        module, attribute = self.lazy[name].target.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` start with. Raises click.UsageError, with a did-you-mean, if there is none."""
        name = args[0]
        known = self.list_commands(context)
        if name not in known and not name.startswith("-"):
            raise click.UsageError(f'No such command "{name}".{did_you_mean(name, known)}', context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        width = formatter.width
        rows = [(name, self.commands[name].get_short_help_str(width)) for name in super().list_commands(context)]
        rows += [(name, command.help) for name, command in self.lazy.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


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
            with _stderr_held_back():
                load(module)
                module.config.list_physical_devices()  # here, or the same chatter comes with the first tensor

        spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Send file descriptor 2, which C++ writes to, into a temporary file; show it only if the block raises."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no stderr at all: nothing to hold back
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
