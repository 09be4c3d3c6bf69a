"""What the command line loads late: a command's module, when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
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
