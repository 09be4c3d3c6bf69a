"""`kerasortho predict`: apply a trained model to files, one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

DEFAULT_OUTPUT = "predictions"


@click.command()
@click.argument("words", nargs=-1, metavar="RUN FILES...", required=True, type=click.Path())
@click.option("--server", metavar="URL", help="Ask a server (http://HOST:PORT or grpc://HOST:PORT) in place of RUN.")
@click.option(
    "--model", metavar="NAME", help="With --server: the model there, such as bone-unet or bone-unet/versions/3."
)
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
    words: tuple[str, ...],
    server: str | None,
    model: str | None,
    output: str | None,
    threshold: float | None,
    overlay: bool,
    batch_size: int | None,
) -> int:
    """Apply the model in the run directory RUN to FILES: images (DICOM, PNG, JPEG, TIFF, BMP), or folders of them.

    With --server URL --model NAME and no RUN, a model on a server is asked, and its answers take the same form.

    Prints one JSON line a file: the label and the probabilities of a classifier; the mask and overlay files, at the
    image's own size, of a segmentation. A file that cannot be read gets a line with "error", and the rest go on.

    Exit code 0: every file has an answer. 1: some have none. 2: none has one; then nothing is written.
    """
    if server is None:
        answers = _from_run(words, model, output, threshold, overlay, batch_size)
    else:
        answers = _from_server(server, words, model, output, threshold, overlay, batch_size)
    failed = []
    for answer in answers:
        failed.append("error" in answer)
        click.echo(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    return 2 if all(failed) else int(any(failed))


def _from_run(
    words: tuple[str, ...],
    model: str | None,
    output: str | None,
    threshold: float | None,
    overlay: bool,
    batch_size: int | None,
) -> Iterator[dict[str, Any]]:
    from kerasortho.evaluation.predict import predict
    from kerasortho.training.run import RunDirectory

    if model is not None:
        raise click.UsageError("--model is for --server URL; here the run directory says which model.")
    run, *files = words
    if not files:
        raise click.UsageError("Missing argument 'FILES...'.")
    opened = RunDirectory(run)
    if output is None and opened.config.task == "segmentation":
        output = DEFAULT_OUTPUT
    return predict(opened, files, output=output, overlay=overlay, threshold=threshold, batch_size=batch_size)


def _from_server(
    server: str,
    files: tuple[str, ...],
    model: str | None,
    output: str | None,
    threshold: float | None,
    overlay: bool,
    batch_size: int | None,
) -> Iterator[dict[str, Any]]:
    from kerasortho.evaluation.predict import predict
    from kerasortho.serving.client import ServerPredictor

    if model is None:
        raise click.UsageError("--server needs --model NAME: which of the server's models is asked.")
    for option, given in (("--threshold", threshold), ("--batch-size", batch_size)):
        if given is not None:
            raise click.UsageError(f"{option} cannot be chosen with --server: the served model has its own.")
    predictor = ServerPredictor(server, model)
    if output is None and predictor.task == "segmentation":
        output = DEFAULT_OUTPUT
    return predict(predictor, files, output=output, overlay=overlay)
