"""Pictures of single images: where a segmentation was best and worst, where a classifier was wrong or least sure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasortho.data.blanking import read_blanked
from kerasortho.evaluation.inference import Prediction, Predictor
from kerasortho.evaluation.judging import Classified, Segmented, truth_of
from kerasortho.evaluation.style import FAINT, GREEN, INK, PREDICTION, PURPLE, TRUTH, VERMILION, figure, wrapped
from kerasortho.radiograph.preprocessing import Preprocessing, preprocess

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 480  # pixels of one picture: an image is shown whole, its contrast stretched as for a model
COLUMNS = 4
SHEET = 12  # pictures on a sheet of classified images
CELL = 2.6  # inches
NAME_LENGTH = 36  # characters of a file name that fit below a picture, on one of two lines
DOUBTFUL = "not counted"
LINES: dict[
    str, dict[str, Any]
] = {  # the prediction is drawn, thinner, over the truth: where they agree, both are seen
    "truth": {"color": TRUTH, "linewidth": 1.8, "linestyle": "solid"},
    "prediction": {"color": PREDICTION, "linewidth": 0.8, "linestyle": "solid"},
    DOUBTFUL: {"color": PURPLE, "linewidth": 1.2, "linestyle": "dotted"},
}
_DISPLAY = Preprocessing(size=(SIDE, SIDE))
_COVERAGE = Preprocessing(size=(SIDE, SIDE), intensity="none")


def draw_segmentation_cases(judged: Segmented, predictor: Predictor, path: Path) -> None:
    """Draw the worst, the median and the best images, and the worst false alarms, with true and predicted contours."""
    rows = choose_cases(judged)
    places = [(index, row, column) for row, (_, chosen) in enumerate(rows) for column, index in enumerate(chosen)]
    chosen = [judged.samples[index] for index, _, _ in places]
    predictions = predictor.predict([sample.image for sample in chosen], [sample.blank for sample in chosen])
    with figure(path, CELL * COLUMNS, (CELL + 0.35) * len(rows) + 0.4) as drawn:
        for (index, row, column), prediction in zip(places, predictions, strict=True):
            assert isinstance(prediction, Prediction)  # it was readable a moment ago
            axes = drawn.add_subplot(len(rows), COLUMNS, row * COLUMNS + column + 1)
            _draw_segmentation(axes, judged, index, prediction, predictor.threshold)
            if column == 0:
                axes.set_ylabel(rows[row][0], fontweight="bold")
        _draw_legend(drawn, any(judged.samples[index].ignore for index, _, _ in places))


def choose_cases(judged: Segmented) -> list[tuple[str, list[int]]]:
    """Return titled rows of at most four sample indices: worst, median and best Dice, and the largest false alarms.

    Where all images with foreground fit into three rows, all are shown, by Dice.
    """
    scores = judged.scores
    order = sorted((i for i, s in enumerate(scores) if s.dice is not None), key=lambda i: scores[i].dice or 0.0)
    alarms = [i for i, s in enumerate(scores) if s.counted and not s.truth and s.marked]
    alarms.sort(key=lambda i: -scores[i].marked / scores[i].counted)
    worst, rest = order[:COLUMNS], order[COLUMNS:]
    best, rest = rest[-COLUMNS:], rest[:-COLUMNS]
    first = max(0, (len(rest) - COLUMNS) // 2)
    rows = [("worst", worst), ("median", rest[first : first + COLUMNS]), ("best", best)]
    if len(order) <= 3 * COLUMNS:
        rows = [
            ("all, worst first" if start == 0 else "", order[start : start + COLUMNS])
            for start in range(0, len(order), COLUMNS)
        ]
    rows.append(("false alarms", alarms[:COLUMNS]))
    rows = [(title, chosen) for title, chosen in rows if chosen]
    return rows or [("nothing there, nothing marked", list(range(len(scores)))[:COLUMNS])]


def draw_classification_cases(judged: Classified, path: Path) -> None:
    """Draw the images whose true class got the least probability: the wrong ones first, then the least sure ones."""
    certainty = judged.probabilities[np.arange(len(judged.samples)), judged.truth]
    chosen = np.argsort(certainty, kind="stable")[:SHEET]
    rows = -(-len(chosen) // COLUMNS)
    wrong = int((judged.probabilities.argmax(axis=1) != judged.truth).sum())
    with figure(path, CELL * COLUMNS, (CELL + 0.5) * rows + 0.4) as drawn:
        heading = f"{wrong} of {len(judged.samples)} images were given the wrong class"
        drawn.suptitle(f"{heading}\n{_selection(len(chosen), len(judged.samples))}", x=0.01, ha="left", fontsize=11)
        for place, index in enumerate(chosen):
            axes = drawn.add_subplot(rows, COLUMNS, place + 1)
            _draw_classification(axes, judged, int(index))


def _selection(shown: int, images: int) -> str:
    if shown < images:
        return f"Shown: the {shown} whose true class was given the lowest probability"
    return "Shown: all, in the order of the probability given to the true class"


def _draw_classification(axes: Axes, judged: Classified, index: int) -> None:
    sample, probabilities = judged.samples[index], judged.probabilities[index]
    called = int(probabilities.argmax())
    truth, answer = judged.classes[sample.label], judged.classes[called]
    right = called == sample.label
    _show(axes, read_blanked(sample.image, sample.blank).pixels, GREEN if right else VERMILION)
    judgement = "" if right else "wrong: "
    caption = f"true: {wrapped(truth, 24)}\n{judgement}{wrapped(answer, 20)} {_percent(probabilities[called])}"
    axes.set_title(caption, fontsize=9, fontweight="normal", color=INK if right else VERMILION)
    axes.set_xlabel(wrapped(Path(sample.name).name, NAME_LENGTH), fontsize=7, color=FAINT)


def _draw_segmentation(axes: Axes, judged: Segmented, index: int, prediction: Prediction, threshold: float) -> None:
    sample, score = judged.samples[index], judged.scores[index]
    assert prediction.radiograph is not None
    _show(axes, prediction.radiograph.pixels, FAINT)
    truth, ignore = truth_of(sample, prediction.shape)
    for mask, line in zip((truth, prediction.mask(threshold), ignore), LINES.values(), strict=True):
        _contour(axes, mask, line)
    marked = score.marked / score.counted if score.counted else 0.0
    caption = f"Dice {score.dice:.3f}" if score.dice is not None else f"marked {_percent(marked)}"
    axes.set_title(caption, fontsize=9, fontweight="normal")
    axes.set_xlabel(wrapped(Path(sample.name).name, NAME_LENGTH), fontsize=7, color=FAINT)


def _contour(axes: Axes, mask: np.ndarray | None, line: Mapping[str, Any]) -> None:
    """Outline ``mask`` (H, W); a region too small to fill half a pixel of the picture keeps an outline."""
    if mask is None or not mask.any():
        return
    coverage, _ = preprocess(mask.astype(np.float32), _COVERAGE)
    level = min(0.5, float(coverage.max()) / 2)
    axes.contour(
        coverage, levels=[level], colors=[line["color"]], linewidths=line["linewidth"], linestyles=line["linestyle"]
    )


def _show(axes: Axes, pixels: np.ndarray, frame: str) -> None:
    picture, _ = preprocess(pixels, _DISPLAY)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=frame, linewidth=1 if frame == FAINT else 2)


def _draw_legend(drawn: Figure, doubtful: bool) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=name, **line) for name, line in LINES.items() if doubtful or name != DOUBTFUL]
    drawn.legend(handles=lines, loc="outside upper left", ncols=len(lines))


def _percent(share: float) -> str:
    """Return a share in percent, without rounding anything to 0 % or 100 % that is not."""
    if 0 < share < 0.001:
        return "< 0.1%"
    return "> 99.9%" if 0.999 < share < 1 else f"{share:.1%}"
