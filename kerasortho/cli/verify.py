"""`kerasortho verify`: does every way to a model give the same answer?"""

from __future__ import annotations

import json

import click

IMAGES = 16


@click.command()
@click.argument("exported", type=click.Path())
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--run", "run_path", type=click.Path(), help="The run it was exported from: its Keras model comes first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def verify_command(exported: str, files: tuple[str, ...], run_path: str | None, as_json: bool) -> int:
    """Send FILES (images, or folders of them) through Keras, the SavedModel, REST, gRPC and every converted format.

    EXPORTED is a model's folder (its newest version is taken) or one version of it. The answers are compared with those
    of the run's Keras model, or of the SavedModel without --run. Without FILES, 16 test images of the run are taken.

    Exit code 1 if a way differs by more than it may.
    """
    from pathlib import Path

    from kerasortho.cli.evaluate import aligned
    from kerasortho.errors import KerasOrthoError
    from kerasortho.evaluation.outputs import gather_files
    from kerasortho.export.convert import find_exported, matching_run
    from kerasortho.serving.verify import verify
    from kerasortho.words import counted

    folder, card = find_exported(Path(exported))
    run = None if run_path is None else matching_run(run_path, card, folder)
    if files:
        chosen = gather_files(files, None)
    elif run is None:
        raise KerasOrthoError("Name image files, or the run (--run RUN), whose test images are then taken.")
    else:
        test = run.samples().split("test")
        chosen = [test[i * len(test) // IMAGES].image for i in range(min(IMAGES, len(test)))]
    found = verify(folder, chosen, run)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        refused = f"; {counted(found.refused, 'file')} refused" if found.refused else ""
        click.echo("\n".join([f"{counted(found.images, 'image')}{refused}", "", *aligned(found.table())]))
    return 1 if found.failures else 0
