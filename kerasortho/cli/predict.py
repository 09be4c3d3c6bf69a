"""`kerasortho predict`: apply a trained model to files, one JSON line each."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("run", type=click.Path())
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(),
    help="Segmentation: folder of masks and overlays.  [default: predictions]",
)
@click.option(
    "--threshold", type=float, help="Segmentation: probability from which a pixel is foreground.  [default: the run's]"
)
@click.option(
    "--overlay/--no-overlay", default=True, show_default=True, help="Segmentation: draw each mask on its image."
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per call of the model.")
def predict_command(
    run: str, files: tuple[str, ...], output: str | None, threshold: float | None, overlay: bool, batch_size: int | None
) -> int:
    """Apply the model in the run directory RUN to FILES: images (DICOM, PNG, JPEG, TIFF, BMP), or folders of them.

    Prints one JSON line a file: the label and the probabilities of a classifier; the mask and overlay files, at the
    image's own size, of a segmentation. A file that cannot be read gets a line with "error", and the rest go on.

    Exit code 0: every file has an answer. 1: some have none. 2: none has one; then nothing is written.
    """
    from kerasortho.evaluation.predict import predict
    from kerasortho.training.run import RunDirectory

    opened = RunDirectory(run)
    if output is None and opened.config.task == "segmentation":
        output = "predictions"
    failed = []
    for answer in predict(opened, files, output=output, overlay=overlay, threshold=threshold, batch_size=batch_size):
        failed.append("error" in answer)
        click.echo(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    return 2 if all(failed) else int(any(failed))
