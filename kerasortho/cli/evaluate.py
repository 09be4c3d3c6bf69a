"""`kerasortho evaluate`: measure a trained model on images it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kerasortho.data.grouping import BY_IMAGE, describe_sources

Results = Mapping[str, Any]
Cells = tuple[str, ...]

NAMES = {
    "roc_auc": "ROC AUC", "dice": "Dice", "iou": "IoU", "pooled_dice": "pooled Dice", "pooled_iou": "pooled IoU",
    "bce": "BCE", "image_roc_auc": "ROC AUC, by image",
}  # fmt: skip
SUBGROUP_SCORES = {
    "classification": ("accuracy", "balanced_accuracy", "roc_auc"),
    "segmentation": ("dice", "iou", "recall"),
}


@click.command()
@click.argument("run", type=click.Path())
@click.option("--split", default="test", show_default=True, help="Which images: train, val, test or all.")
@click.option("--by", multiple=True, metavar="COLUMN", help="Repeat the scores for each value of a manifest column.")
@click.option(
    "--manifest",
    type=click.Path(),
    help="Judge on another manifest, such as another hospital's; all of it, if it has no split.",
)
@click.option("--name", help="Name of the results; by default the split, after the other manifest's name.")
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw curves and pictures of cases.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per call of the model.")
def evaluate_command(
    run: str,
    split: str,
    by: tuple[str, ...],
    manifest: str | None,
    name: str | None,
    figures: bool,
    batch_size: int | None,
) -> int:
    """Judge the model in the run directory RUN on its test images, or on those of another manifest.

    Writes RUN/metrics.json, a table of single images and figures, and prints the scores with 95 % intervals (whole
    groups, that is patients or studies, resampled; single images where none are known).

    Exit code 1 if some images could not be judged.
    """
    from kerasortho.evaluation.evaluate import evaluate

    results = evaluate(run, split=split, by=by, manifest=manifest, name=name, figures=figures, batch_size=batch_size)
    click.echo("\n".join(report(results, Path(run))))
    return 1 if results["unusable"] else 0


def report(results: Results, run: Path) -> Iterator[str]:
    """Yield the lines of the table for people."""
    images, sources = results["images"], results["grouped_by"]
    known = sources != [BY_IMAGE]
    groups = f"of {results['groups']} groups ({describe_sources(sources)})" if known else "of unknown patients"
    part = "all" if results["split"] == "all" else f"split {results['split']}"
    yield f"{images} images {groups}: {part} of {results['manifest']}"
    if not known:
        yield "  intervals resample single images: they are too narrow where a patient has several"
    for reason, number in results["left_out"].items():
        yield f"  left out: {number}, {reason}"
    for image, reason in results["unusable"].items():
        yield f"  not judged: {image}: {reason}"
    if blanked := results["blanked"]:
        yield f"  parts of {blanked} of these images were blanked (column blank); exported models blank nothing"
    if seen := results["seen_in_training"]:
        more = f", such as {seen[0]}, and {len(seen) - 1} more" if len(seen) > 1 else f": {seen[0]}"
        yield f"  WARNING, scores too good: the model was trained or selected on {len(seen)} of these images{more}"
    if results["intervals_unreliable"]:
        yield f"  {results['intervals_unreliable']}"
    yield ""
    scores = [_line(NAMES.get(name, name.replace("_", " ")), score) for name, score in results["metrics"].items()]
    if results["task"] == "classification":
        scores += _class_lines(results["classes"])
    yield from aligned([("", "score", "95 % interval", "", ""), *scores])
    yield from _confusion(results["confusion_matrix"]) if "confusion_matrix" in results else _emptiness(results)
    for column, parts in results["subgroups"].items():
        yield from _subgroups(column, parts, results["task"])
    yield ""
    for file in ("metrics.json", results["table"], *results["figures"]):
        yield f"wrote {run / file}"


def _line(name: str, score: Results) -> Cells:
    """Return name, value, interval, counts, and remarks: Wilson's interval, or why there is none or no value."""
    if score["value"] is None:
        return name, "-", "", "", f"undefined: {score['reason']}"
    counts = f"{score['count']} of {score['of']}" if "count" in score else ""
    wilson = f"Wilson {_interval(*score['wilson'])}" if score.get("wilson") else ""
    remark = "; ".join(part for part in (wilson, score.get("remark")) if part)
    return name, f"{score['value']:.4f}", _interval(score["low"], score["high"]), counts, remark


def _class_lines(classes: Results) -> list[Cells]:
    """Return the sensitivity of every class; of more than two the specificity, too (of two it is the other's)."""
    names = ("sensitivity",) if len(classes) == 2 else ("sensitivity", "specificity")
    return [_line(f"{name}, {label}", scores[name]) for label, scores in classes.items() for name in names]


def _confusion(matrix: Results) -> Iterator[str]:
    yield ""
    header = ("true \\ predicted", *matrix["classes"])
    rows = zip(matrix["classes"], matrix["true_by_row"], strict=True)
    yield from aligned([header, *((name, *map(str, counts)) for name, counts in rows)])


def _emptiness(results: Results) -> Iterator[str]:
    filled, empty = results["images_with_foreground"], results["images_without_foreground"]
    yield ""
    yield f"{filled['missed_entirely']} of {filled['images']} images with foreground missed entirely (Dice 0)"
    if empty["images"]:
        area = empty["false_positive_area_fraction"]["value"]
        yield (
            f"{empty['with_predicted_foreground']} of {empty['images']} images without foreground have some marked; "
            f"on average {area:.3%} of their area"
        )


def _subgroups(column: str, parts: Results, task: str) -> Iterator[str]:
    wanted = SUBGROUP_SCORES[task]
    yield ""
    rows = [(column, "images", "groups", *(NAMES.get(name, name.replace("_", " ")) for name in wanted))]
    for value, part in parts.items():
        scores = (part["metrics"][name] for name in wanted)
        cells = ("-" if s["value"] is None else f"{s['value']:.4f} {_shown_interval(s)}" for s in scores)
        rows.append((value or "(empty)", str(part["images"]), str(part["groups"]), *cells))
    yield from aligned(rows)
    if weak := [value or "(empty)" for value, part in parts.items() if part["intervals_unreliable"]]:
        yield f"too few groups for reliable intervals: {', '.join(weak)}"


def _shown_interval(score: Results) -> str:
    """Return the interval for a table with room for one: Wilson's where all resamples are alike."""
    if score["low"] == score["high"] and score.get("wilson"):
        return f"{_interval(*score['wilson'])} (Wilson)"
    return _interval(score["low"], score["high"])


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"{low:.4f}-{high:.4f}" if low < high else ""  # the same in all resamples: no measure of certainty


def aligned(rows: Sequence[Cells]) -> Iterator[str]:
    """Yield rows of cells as lines: the first column to the left, the others as wide as they need."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
