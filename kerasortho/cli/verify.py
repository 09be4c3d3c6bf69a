"""`kerasortho verify`: does every way to a model give the same answer?"""

from __future__ import annotations

import json

import click

IMAGES = 16


@click.command()
@click.argument("exported", type=click.Path())
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--run", "run_path", type=click.Path(), help="The run it was exported from, if not found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def verify_command(exported: str, files: tuple[str, ...], run_path: str | None, as_json: bool) -> int:
    """Send FILES (images, or folders of them) through Keras, the SavedModel, REST, gRPC and every converted format.

    EXPORTED is a model's folder (its newest version is taken) or one version of it. The answers are compared with those
    of the Keras model of the run that it was exported from, which is looked for here and beside the exported models, in
    folders such as runs/NAME; where it is in neither, and not named with --run, with those of the SavedModel. Without
    FILES, 16 test images of the run are taken.

    SavedModel, REST, gRPC, fp32 and onnx may differ by 1e-4, fp16 by 2e-3, with every label the same or a mask Dice of
    0.999. dynamic-int8 and int8 change probabilities by design: 99.5 % of the labels must be the same (one of a few
    images may be another), or the mean mask Dice 0.99. Whether scores suffer is what `kerasortho convert` measures.

    Exit code 1 if a way differs by more than it may.
    """
    from pathlib import Path

    from kerasortho.cli.evaluate import aligned
    from kerasortho.errors import KerasOrthoError
    from kerasortho.evaluation.outputs import gather_files
    from kerasortho.export.exported import find_exported, find_run, matching_run
    from kerasortho.serving.verify import verify
    from kerasortho.words import counted

    folder, card = find_exported(Path(exported))
    run = find_run(card, folder) if run_path is None else matching_run(run_path, card, folder)
    if files:
        chosen = gather_files(files, None)
    elif run is None:
        raise KerasOrthoError(
            f"No run here, or beside the exported models, has the model.keras that {folder} was exported from, so its "
            "test images are not known. Name the run with --run RUN, or image files."
        )
    else:
        test = run.samples().split("test")
        chosen = [test[i * len(test) // IMAGES].image for i in range(min(IMAGES, len(test)))]
    found = verify(folder, chosen, run)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        refused = f"; {counted(len(found.refused), 'file')} refused" if found.refused else ""
        click.echo("\n".join([f"{counted(found.images, 'image')}{refused}", *found.refused]))
        if run is None:
            click.echo(
                "Keras was not asked: no run here, or beside the exported models, is the one it was exported from. "
                "The SavedModel comes first in its place; --run RUN names the run."
            )
        click.echo("\n".join(["", *aligned(found.table())]))
        if worst := found.worst_cases():
            click.echo("\n".join(["", "What differs most:", *worst]))
        if found.task == "segmentation":
            click.echo(
                "\nServers give maps of 8 bits: what rounding explains, half a level, is not counted as difference."
            )
    return 1 if found.failures else 0
