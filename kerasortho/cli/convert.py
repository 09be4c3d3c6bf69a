"""`kerasortho convert`: an exported model as LiteRT or ONNX files, each checked before it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kerasortho.cli.evaluate import aligned
from kerasortho.export.calibration import IMAGES
from kerasortho.export.formats import DEFAULT_FORMATS, MAX_DROP
from kerasortho.words import byte_size, counted

if TYPE_CHECKING:
    from kerasortho.export.edge_files import Conversion


@click.command()
@click.argument("exported", type=click.Path())
@click.option("--run", metavar="RUN", type=click.Path(), help="The run that the model was exported from, if not found.")
@click.option(
    "--images", multiple=True, metavar="FILE", type=click.Path(), help="Instead: an image, or a folder of them."
)
@click.option("--formats", default=",".join(DEFAULT_FORMATS), show_default=True, help="Which ones; also: onnx.")
@click.option(
    "--max-drop", type=click.FloatRange(0, 1), default=MAX_DROP, show_default=True, help="Of accuracy or Dice, at most."
)
@click.option(
    "--calibration-images",
    type=click.IntRange(min=1),
    default=IMAGES,
    show_default=True,
    help="Of training, for int8.",
)
@click.option("--bundle", metavar="DIR", type=click.Path(), help="Also make a folder to copy to an edge device.")
def convert_command(
    exported: str,
    run: str | None,
    images: tuple[str, ...],
    formats: str,
    max_drop: float,
    calibration_images: int,
    bundle: str | None,
) -> int:
    """Convert the exported model in EXPORTED (exported/NAME, or one version of it) to LiteRT, or ONNX.

    Every format is first compared with the SavedModel: size, latency, and on the validation images of the run the
    accuracy, or Dice at each image's own size, with 95 % intervals by group. int8 is calibrated on training images
    chosen across classes and groups. Where a format loses too much, the layers that suffer most stay in float32.

    The run is looked for here and beside the exported models, in folders such as runs/NAME. Without it its images are
    not known: fp32, fp16, dynamic-int8 and onnx can then be compared with the SavedModel on --images (whose truth is
    not known either: --max-drop is of the agreement); int8 cannot be made.

    Files go to exported/NAME/edge-VERSION/, which servers skip: the models, with labels and preprocessing in a JSON
    file beside each, and all results in formats.json. --bundle adds a folder with one model (the first that passed
    of int8, dynamic-int8, fp16, fp32) and a program that needs numpy, OpenCV and LiteRT only.

    Exit code 1 if a format loses more than --max-drop, if a probability of fp32 or onnx differs by more than 1e-4 or of
    fp16 by more than 2e-3, or if a format cannot be made; it is then not written.
    """
    from kerasortho.export.convert import convert
    from kerasortho.export.exported import find_exported, find_run
    from kerasortho.export.formats import check_formats

    names = check_formats([name.strip() for name in formats.split(",") if name.strip()])
    if bundle is not None:
        from kerasortho.export.bundle import require_bundle

        require_bundle(Path(bundle), names)
    folder, card = find_exported(Path(exported))
    conversion = convert(
        folder,
        run=find_run(card, folder) if run is None and not images else run,
        images=images,
        formats=names,
        max_drop=max_drop,
        calibration_images=calibration_images,
    )
    click.echo("\n".join(report(conversion)))
    if bundle is not None:
        from kerasortho.export.bundle import write_bundle

        click.echo(f"wrote {bundle} with the format {write_bundle(conversion, Path(bundle))}")
    return 1 if conversion.failed else 0


def report(conversion: Conversion) -> Iterator[str]:
    """Yield the lines of the table for people."""
    checked = conversion.checked_on
    groups = f" of {counted(checked['groups'], 'group')} (split {checked['split']})" if "groups" in checked else ""
    yield f"Compared with the SavedModel on {counted(checked['images'], 'image')}{groups}"
    if remark := checked.get("intervals_unreliable"):
        yield f"  {remark}"
    if reference := checked.get("reference"):
        yield f"  {checked['score']} of the SavedModel: {_estimate(reference)}"
    yield ""
    header = ("format", "size", "ms, 1 thread", "2 threads", checked["score"], "drop", "largest difference", "")
    yield from aligned([header, *(_row(name, m.facts, m.failure) for name, m in conversion.models.items())])
    for model in conversion.models.values():
        if kept := model.facts.get("float32_layers"):
            yield f"{model.name}: {counted(len(kept), 'layer')} left in float32"
        yield from (f"note: {remark}" for remark in model.facts.get("remarks", ()))
    yield ""
    for model in conversion.models.values():
        yield f"FAILED: {model.failure}" if model.failure else f"wrote {model.file}"
    yield f"wrote {conversion.folder / 'formats.json'}"


def _row(name: str, facts: Mapping[str, Any], failure: str) -> tuple[str, ...]:
    if "bytes" not in facts:
        return name, *["-"] * 6, "FAILED"  # it could not be made
    score = _estimate(facts["score"]) if "score" in facts else f"{facts['agreement']:.4f}"
    one, two = (f"{facts['latency_ms'][threads]:.1f}" for threads in ("1", "2"))
    size, difference = byte_size(facts["bytes"]), f"{facts['largest_difference']:.2g}"
    return name, size, one, two, score, _estimate(facts["drop"]), difference, "FAILED" if failure else "passed"


def _estimate(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "-"
    low, high = found["low"], found["high"]
    return _number(found["value"]) + (f" ({_number(low)} to {_number(high)})" if low is not None and low < high else "")


def _number(value: float) -> str:
    return f"{round(value, 4) + 0.0:.4f}"  # -0.00001 is 0.0000, not -0.0000
