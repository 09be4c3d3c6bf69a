"""``kerasortho models``: the registry as a table, and one model's options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kerasortho.models import ModelEntry


@click.command("models")
@click.argument("name", required=False)
def models_command(name: str | None) -> None:
    """List the models that can be trained or, with NAME, the options of one.

    In a configuration these are model.name and model.options.
    """
    from kerasortho.models import MODELS, get_model_entry

    if name is not None:
        click.echo(_describe(name, get_model_entry(name)))
        return
    width = max(map(len, MODELS)) + 2
    for task in sorted({entry.task for entry in MODELS.values()}):
        click.echo(f"{task}:")
        for known, entry in MODELS.items():
            if entry.task == task:
                click.echo(f"  {known:<{width}}{entry.summary}")
    click.echo("\n`kerasortho models NAME` lists a model's options.")


def _describe(name: str, entry: ModelEntry) -> str:
    lines = [f"{name} ({entry.task}): {entry.summary}", "options and their defaults:"]
    return "\n".join([*lines, *(f"  {option}: {default}" for option, default in entry.options.items())])
