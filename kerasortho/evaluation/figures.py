"""The figures of an evaluation: learning curves, confusion matrix, ROC, Dice by image. Drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasortho.evaluation.cases import draw_classification_cases, draw_segmentation_cases
from kerasortho.evaluation.classification import roc_curve
from kerasortho.evaluation.inference import Predictor
from kerasortho.evaluation.judging import Classified, Judged, Segmented
from kerasortho.evaluation.style import BLUE, CYCLE, FAINT, INK, VERMILION, figure, wrapped
from kerasortho.training.run import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Results = Mapping[str, Any]

NAMES = {
    "auc": "ROC AUC",
    "iou": "IoU",
    "bce": "BCE",
    "global_dice": "Pooled Dice",
}  # others: the key with its first letter raised


def draw_all(run: RunDirectory, title: str, judged: Judged, results: Results, predictor: Predictor) -> list[Path]:
    """Draw every figure that ``judged`` calls for into the run's folder of figures; return the files."""
    files: list[Path] = []

    def file(name: str) -> Path:
        files.append(run.figures / f"{name}.png")
        return files[-1]

    if history := run.history():
        draw_curves(history, file("learning-curves"))
    if isinstance(judged, Classified):
        draw_confusion(results, file(f"{title}-confusion"))
        if any(kind["roc_auc"]["value"] is not None for kind in results["classes"].values()):
            draw_roc(judged, results, file(f"{title}-roc"))
        draw_classification_cases(judged, file(f"{title}-cases"))
    elif isinstance(judged, Segmented):
        if results["images_with_foreground"]["images"]:
            draw_dice(judged, results, file(f"{title}-dice"))
        draw_segmentation_cases(judged, predictor, file(f"{title}-cases"))
    return files


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw every quantity of ``history`` (one mapping an epoch) that has a ``val_`` twin: training and validation."""
    names = [name for name in history[0] if any(f"val_{name}" in row for row in history)]
    names = sorted(names, key=lambda name: name != "loss")[:4]
    if not names:
        names = [name for name in history[0] if name == "loss"]
    epochs = np.arange(1, len(history) + 1)
    columns = min(len(names), 2)
    rows = -(-len(names) // 2)
    with figure(path, 5.2 * columns, 3.4 * rows) as drawn:
        for index, name in enumerate(names):
            axes = drawn.add_subplot(rows, columns, index + 1)
            series = [(name, "training", BLUE), (f"val_{name}", "validation", VERMILION)]
            for key, label, colour in series:
                values = np.array([row.get(key, np.nan) for row in history])
                if np.isfinite(values).any():
                    axes.plot(epochs, values, color=colour, label=label, marker="o" if len(epochs) < 3 else None)
            _mark_phases(axes, history)
            axes.set_title(NAMES.get(name, name.replace("_", " ").capitalize()))
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(loc="best")


def draw_confusion(results: Results, path: Path) -> None:
    """Draw the confusion matrix: counts, shaded by the share of the true class."""
    classes = results["confusion_matrix"]["classes"]
    counts = np.array(results["confusion_matrix"]["true_by_row"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.95 * len(classes)
    with figure(path, side + 0.6, side) as drawn:
        axes = drawn.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.55 else INK
            text = f"{count}\n{shares[row, column]:.1%}" if count else "0"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        labels = [wrapped(name, 16) for name in classes]
        axes.set_xticks(
            range(len(classes)),
            labels,
            rotation=0 if len(classes) < 4 else 30,
            ha="center" if len(classes) < 4 else "right",
        )
        axes.set_yticks(range(len(classes)), labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"{int(np.trace(counts))} of {counts.sum()} right")


def draw_roc(judged: Classified, results: Results, path: Path) -> None:
    """Draw the ROC curve: of the second of two classes, or of each class against the rest."""
    shown = list(enumerate(judged.classes))
    shown = shown[1:] if len(shown) == 2 else shown
    with figure(path, 4.6, 4.4) as drawn:
        axes = drawn.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
        for order, (index, name) in enumerate(shown):
            area = results["classes"][name]["roc_auc"]
            if area["value"] is None:
                continue
            alarms, hits = roc_curve(judged.truth == index, judged.probabilities[:, index])
            known = area["low"] is not None and area["low"] < area["high"]
            interval = f" ({area['low']:.3f}-{area['high']:.3f})" if known else ""
            label = f"{wrapped(name, 24)}: {area['value']:.3f}{interval}"
            axes.plot(alarms, hits, color=CYCLE[order % len(CYCLE)], label=label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel="1 - specificity", ylabel="sensitivity")
        axes.set_title("ROC curve")
        axes.legend(title="area (95 % interval)", loc="lower right", alignment="left")


def draw_dice(judged: Segmented, results: Results, path: Path) -> None:
    """Draw how Dice is distributed over the images with foreground."""
    dice = np.array([score.dice for score in judged.scores if score.dice is not None])
    mean = results["metrics"]["dice"]["value"]
    with figure(path, 5.6, 3.4) as drawn:
        axes = drawn.add_subplot()
        axes.hist(dice, bins=np.linspace(0, 1, 21), color=BLUE, edgecolor="white", linewidth=0.8)
        for value, style, name in ((mean, "solid", "mean"), (float(np.median(dice)), "dotted", "median")):
            axes.axvline(value, color=VERMILION, linewidth=1.5, linestyle=style, label=f"{name} {value:.3f}")
        axes.legend(loc="best")
        axes.set_xlim(0, 1)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="Dice", ylabel="images")
        axes.set_title(f"Dice of {len(dice)} images with foreground")


def _mark_phases(axes: Axes, history: Sequence[Mapping[str, float]]) -> None:
    """Draw a line where a phase of training begins, with its number."""
    phases = [row.get("phase", 1.0) for row in history]
    for index in range(1, len(phases)):
        if phases[index] != phases[index - 1]:
            axes.axvline(index + 0.5, color=FAINT, linewidth=1, linestyle="--")
            axes.text(
                index + 0.5,
                0.5,
                f"phase {phases[index]:.0f}",
                transform=axes.get_xaxis_transform(),  # x in epochs, y as a share of the height
                rotation=90,
                color=FAINT,
                fontsize=8,
                ha="center",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
