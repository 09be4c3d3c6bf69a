"""One radiograph, one answer: the same images by every way that leads to a model, compared with the first way."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Prediction
from kerasortho.export.card import read_card
from kerasortho.export.format_check import content_only
from kerasortho.export.formats import FORMATS
from kerasortho.export.signatures import ROUNDING
from kerasortho.progress import Progress
from kerasortho.radiograph.preprocessing import Preprocessing, preprocess
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.serving.client import ServedPrediction
from kerasortho.serving.ways import KerasWay, SavedModelWay, Way, formats_of, served
from kerasortho.training.run import RunDirectory
from kerasortho.words import counted

SERVED = 1e-4  # largest difference of a probability from the first way's, of the SavedModel and its two doors
# That of a converted format is the one `kerasortho convert` holds it to.
TOLERANCES = {
    **dict.fromkeys(("savedmodel", "rest", "grpc"), SERVED),
    **{name: made.tolerance for name, made in FORMATS.items() if made.tolerance < math.inf},
}
SMALLEST_DICE = 0.999  # of a mask with the first way's, where there is a tolerance
# Ways without one change probabilities by design; what they say must stay the same.
OTHER_LABELS = 0.005  # share of images; one is allowed in any case but the last
MEAN_DICE = 0.99  # of the masks with the first way's
SHOWN = 3  # files a way, of those that differ most


@dataclass
class Compared:
    """How one way's answers differ from the first way's.

    Attributes:
        difference: largest of all probabilities, of the preprocessed tensor and of the file; NaN if an answer is.
        same_labels: images with the same label, of a classifier.
        dice: of each mask with the first way's, of a segmenter.
        different: files whose label or mask is another, with how far they are off; filled in the order of the files.
        refused_alike: whether the same files were refused.
        milliseconds: of each file, reading included.
    """

    way: str
    difference: float = 0.0
    same_labels: int = 0
    dice: list[float] = field(default_factory=list)
    different: list[tuple[float, str]] = field(default_factory=list)
    refused_alike: bool = True
    milliseconds: list[float] = field(default_factory=list)

    def note(self, difference: float) -> None:
        """Keep the largest difference; NaN stays, which `max` would drop."""
        self.difference = float(np.maximum(self.difference, difference))

    @property
    def worst(self) -> list[str]:
        """What is different, the worst first."""
        return [text for _, text in sorted(self.different, reverse=True)]

    def failure(self, images: int, task: str) -> str:
        """Return why this way is not good enough, or an empty text."""
        tolerance = TOLERANCES.get(self.way)
        if not self.refused_alike:
            return "other files were refused"
        if not math.isfinite(self.difference):
            return "an answer is not a number"
        if tolerance is not None and self.difference > tolerance:
            return f"probabilities differ by {self.difference:.1e}, more than {tolerance:g}"
        if task == "classification":
            others, most = images - self.same_labels, max(1, int(OTHER_LABELS * images))
            allowed = min(most, images - 1) if tolerance is None else 0
            return "" if others <= allowed else f"{counted(others, 'label')} not the same"
        if tolerance is None:
            mean = statistics.fmean(self.dice)
            return "" if mean >= MEAN_DICE else f"the masks have a mean Dice of {mean:.4f}, less than {MEAN_DICE}"
        return "" if min(self.dice) >= SMALLEST_DICE else f"a mask has Dice {min(self.dice):.5f}"


@dataclass
class Verification:
    """All ways compared on ``images`` images; ``refused``: why the first way could not read the others."""

    task: str
    images: int
    refused: list[str]
    ways: list[Compared]

    @property
    def failures(self) -> dict[str, str]:
        """Ways that are not good enough, and why."""
        found = {way.way: way.failure(self.images, self.task) for way in self.ways}
        return {way: reason for way, reason in found.items() if reason}

    def table(self) -> list[tuple[str, ...]]:
        """Return a header and one row a way, as text."""
        second = ("same label",) if self.task == "classification" else ("mean mask Dice", "least")
        rows: list[tuple[str, ...]] = [("way", "largest difference", *second, "median ms", "")]
        for way in self.ways:
            verdict = self.failures.get(way.way, "compared with" if way is self.ways[0] else "")
            median = f"{statistics.median(way.milliseconds):.0f}" if way.milliseconds else "-"
            rows.append((way.way, f"{way.difference:.1e}", *self._same(way), median, verdict))
        return rows

    def worst_cases(self) -> list[str]:
        """Return a line for each way that is not good enough, naming the files that differ most."""
        lines = []
        for way in self.ways:
            if way.way in self.failures and (worst := way.worst):
                more = f"; and {counted(len(worst) - SHOWN, 'more file')}" if len(worst) > SHOWN else ""
                lines.append(f"{way.way}: {'; '.join(worst[:SHOWN])}{more}")
        return lines

    def _same(self, way: Compared) -> tuple[str, ...]:
        if self.task == "classification":
            return (f"{way.same_labels} of {self.images}",)
        return ("-", "-") if not way.dice else (f"{statistics.fmean(way.dice):.5f}", f"{min(way.dice):.5f}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "task": self.task,
            "images": self.images,
            "refused": self.refused,
            "ways": [self._row(way) for way in self.ways],
        }

    def _row(self, way: Compared) -> dict[str, Any]:
        if self.task == "classification":
            same: dict[str, Any] = {"same_labels": way.same_labels}
        else:
            mean = statistics.fmean(way.dice) if way.dice else None
            same = {"smallest_dice": min(way.dice, default=None), "mean_dice": mean}
        return {
            "way": way.way,
            "largest_difference": way.difference if math.isfinite(way.difference) else None,
            **same,
            "median_ms": round(statistics.median(way.milliseconds), 2) if way.milliseconds else None,
            "failure": self.failures.get(way.way),
            "different": way.worst,
        }


def verify(folder: Path, files: Sequence[Path], run: RunDirectory | None) -> Verification:
    """Ask every way about ``files`` and compare.

    Args:
        folder: exported version, ``exported/NAME/VERSION``.
        files: images; those that no way can read must be refused by every way.
        run: the run it was exported from, whose Keras model is the first way; None: the SavedModel is.

    Raises KerasOrthoError where the model, its server or a converted file cannot be used, or the first way can read
    none of the files: nothing would be compared.
    """
    card = read_card(folder)
    with ExitStack() as stack:
        ways: list[Way] = [] if run is None else [KerasWay(run)]
        ways += [SavedModelWay(folder), *stack.enter_context(served(folder)), *formats_of(folder)]
        compared = [Compared(way.name) for way in ways]
        refused: list[KerasOrthoError] = []
        for way in ways:
            way.file(files[0])  # the first call of each builds its graph
        with Progress(len(files), "asking every way") as progress:
            for file in files:
                answers = [_timed(way, file, row) for way, row in zip(ways, compared, strict=True)]
                if isinstance(answers[0], KerasOrthoError):
                    refused.append(answers[0])
                    for answer, row in zip(answers, compared, strict=True):
                        row.refused_alike &= isinstance(answer, KerasOrthoError)
                else:
                    _compare_tensors(file, ways, compared, card)
                    for answer, row in zip(answers, compared, strict=True):
                        _compare(answers[0], answer, row, card)
                progress.advance(1)
    if len(refused) == len(files):
        raise KerasOrthoError(
            f"None of {counted(len(files), 'file')} could be read, so nothing was compared. The first: {refused[0]}"
        )
    return Verification(card["task"], len(files) - len(refused), [str(error) for error in refused], compared)


def _timed(way: Way, file: Path, row: Compared) -> Prediction | KerasOrthoError:
    start = time.perf_counter()
    answer = way.file(file)
    if not isinstance(answer, KerasOrthoError):
        row.milliseconds.append(1000 * (time.perf_counter() - start))
    return answer


def _compare_tensors(file: Path, ways: Sequence[Way], rows: Sequence[Compared], card: dict[str, Any]) -> None:
    """Compare the answers to the preprocessed image, which have all their bits by every way; padding aside."""
    image, box = preprocess(read_radiograph(file).pixels, Preprocessing.from_dict(card["preprocessing"]))
    first, *others = (content_only(way.tensor(image)[None], [box]) for way in ways)
    for answer, row in zip(others, rows[1:], strict=True):
        row.note(np.abs(answer - first).max())


def _compare(wanted: Prediction, answer: Prediction | KerasOrthoError, row: Compared, card: dict[str, Any]) -> None:
    if isinstance(answer, KerasOrthoError):
        row.refused_alike = False
        return
    # Each 8-bit map may be half a level off; what goes beyond is a difference of decoding, preprocessing or model.
    rounding = ROUNDING * sum(isinstance(each, ServedPrediction) for each in (wanted, answer))
    difference = float(np.abs(answer.probabilities - wanted.probabilities).max())
    row.note(difference - rounding)
    if card["task"] == "classification":
        label, before = (_label(prediction, card) for prediction in (answer, wanted))
        if answer.probabilities.argmax() == wanted.probabilities.argmax():
            row.same_labels += 1
        else:
            row.different.append((difference, f"{wanted.file.name} is {label}, not {before}"))
        return
    a, b = (prediction.mask(card["threshold"]).astype(bool) for prediction in (wanted, answer))
    total = int(a.sum() + b.sum())
    dice = 2 * int((a & b).sum()) / total if total else 1.0
    row.dice.append(dice)
    if dice < SMALLEST_DICE:
        row.different.append((1 - dice, f"{wanted.file.name} has a mask Dice of {dice:.4f}, {total // 2} pixels"))


def _label(prediction: Prediction, card: dict[str, Any]) -> str:
    best = int(prediction.probabilities.argmax())
    return f"{card['classes'][best]} ({prediction.probabilities[best]:.4f})"
