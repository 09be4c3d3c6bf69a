"""`kerasortho export`: a run's model as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", type=click.Path())
@click.option("--to", default="exported", show_default=True, type=click.Path(), help="Folder of all exported models.")
@click.option("--name", help="Name of the model, a part of its address.  [default: the run directory's]")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Largest image that the model accepts, in pixels.")
@click.option("--label", help='Another name for this version, such as "stable"; taken from the version that had it.')
def export_command(run: str, to: str, name: str | None, max_pixels: int | None, label: str | None) -> int:
    """Write the model in the run directory RUN as the next version of a model that TensorFlow Serving loads.

    Preprocessing is inside: it takes PNG and JPEG files of any size and answers as `kerasortho predict` does. Beside
    the models lie the files with which a server starts on all of them.
    """
    from kerasortho.export.export import export

    limits = {} if max_pixels is None else {"max_pixels": max_pixels}
    click.echo(export(run, to, name=name, label=label, **limits))
    return 0
