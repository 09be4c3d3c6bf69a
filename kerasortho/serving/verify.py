"""One radiograph, one answer: the same images by every way that leads to a model, compared with the first way."""

from __future__ import annotations

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
from kerasortho.progress import Progress
from kerasortho.radiograph.preprocessing import Preprocessing, preprocess
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.serving.ways import KerasWay, SavedModelWay, Way, formats_of, served
from kerasortho.training.run import RunDirectory
from kerasortho.words import counted

# Largest difference of a probability from the first way's; formats that are not here lose by design, and
# `kerasortho convert` has measured how much.
TOLERANCES = {"savedmodel": 1e-4, "rest": 1e-4, "grpc": 1e-4, "fp32": 1e-4, "onnx": 1e-4, "fp16": 2e-3}
SMALLEST_DICE = 0.999  # of a mask with the first way's, where a tolerance is given


@dataclass
class Compared:
    """How one way's answers differ from the first way's.

    Attributes:
        difference: largest of all probabilities: of the preprocessed tensor, and of the file for a classifier.
        same: images with the same label; or the least Dice of a mask with the first way's.
        refused_alike: whether the same files were refused.
        milliseconds: of each file, reading included.
    """

    way: str
    difference: float = 0.0
    same_labels: int = 0
    smallest_dice: float = 1.0
    refused_alike: bool = True
    milliseconds: list[float] = field(default_factory=list)

    def failure(self, images: int, task: str) -> str:
        """Return why this way is not good enough, or an empty text."""
        tolerance = TOLERANCES.get(self.way)
        if not self.refused_alike:
            return "other files were refused"
        if tolerance is None:
            return ""
        if not self.difference <= tolerance:
            return f"probabilities differ by {self.difference:.1e}, more than {tolerance:g}"
        if task == "classification":
            return "" if self.same_labels == images else f"{counted(images - self.same_labels, 'label')} not the same"
        return "" if self.smallest_dice >= SMALLEST_DICE else f"a mask has Dice {self.smallest_dice:.5f}"


@dataclass
class Verification:
    """All ways compared on ``images`` images; ``refused`` more could not be read by the first way."""

    task: str
    images: int
    refused: int
    ways: list[Compared]

    @property
    def failures(self) -> dict[str, str]:
        """Ways that are not good enough, and why."""
        found = {way.way: way.failure(self.images, self.task) for way in self.ways}
        return {way: reason for way, reason in found.items() if reason}

    def table(self) -> list[tuple[str, ...]]:
        """Return a header and one row a way, as text."""
        second = "same label" if self.task == "classification" else "least mask Dice"
        rows: list[tuple[str, ...]] = [("way", "largest difference", second, "median ms", "")]
        for way in self.ways:
            same = (
                f"{way.same_labels} of {self.images}" if self.task == "classification" else f"{way.smallest_dice:.5f}"
            )
            judged = "compared with" if way is self.ways[0] else "" if way.way in TOLERANCES else "not judged here"
            verdict = self.failures.get(way.way, judged)
            median = f"{statistics.median(way.milliseconds):.0f}" if way.milliseconds else "-"
            rows.append((way.way, f"{way.difference:.1e}", same, median, verdict))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "task": self.task,
            "images": self.images,
            "refused": self.refused,
            "ways": [
                {
                    "way": way.way,
                    "largest_difference": way.difference,
                    **({"same_labels": way.same_labels} if self.task == "classification"
                       else {"smallest_dice": way.smallest_dice}),
                    "median_ms": round(statistics.median(way.milliseconds), 2) if way.milliseconds else None,
                    "failure": self.failures.get(way.way),
                }
                for way in self.ways
            ],
        }  # fmt: skip


def verify(folder: Path, files: Sequence[Path], run: RunDirectory | None) -> Verification:
    """Ask every way about ``files`` and compare.

    Args:
        folder: exported version, ``exported/NAME/VERSION``.
        files: images; those that no way can read must be refused by every way.
        run: the run it was exported from, whose Keras model is the first way; None: the SavedModel is.

    Raises KerasOrthoError where the model, its server or a converted file cannot be used.
    """
    card = read_card(folder)
    with ExitStack() as stack:
        ways: list[Way] = [] if run is None else [KerasWay(run)]
        ways += [SavedModelWay(folder), *stack.enter_context(served(folder)), *formats_of(folder)]
        first, *others = ways
        compared = [Compared(way.name) for way in ways]
        spec, images, refused = Preprocessing.from_dict(card["preprocessing"]), 0, 0
        first.file(files[0])  # the first call of each builds its graph
        for way in others:
            way.file(files[0])
        with Progress(len(files), "asking every way") as progress:
            for file in files:
                wanted = _timed(first, file, compared[0])
                answers = [_timed(way, file, row) for way, row in zip(others, compared[1:], strict=True)]
                if isinstance(wanted, KerasOrthoError):
                    refused += 1
                    for answer, row in zip(answers, compared[1:], strict=True):
                        row.refused_alike &= isinstance(answer, KerasOrthoError)
                else:
                    images += 1
                    image, _ = preprocess(read_radiograph(file).pixels, spec)
                    truth = first.tensor(image)
                    _compare(wanted, wanted, compared[0], card)
                    for way, answer, row in zip(others, answers, compared[1:], strict=True):
                        row.difference = max(row.difference, float(np.abs(way.tensor(image) - truth).max()))
                        _compare(wanted, answer, row, card)
                progress.advance(1)
    return Verification(card["task"], images, refused, compared)


def _timed(way: Way, file: Path, row: Compared) -> Prediction | KerasOrthoError:
    start = time.perf_counter()
    answer = way.file(file)
    if not isinstance(answer, KerasOrthoError):
        row.milliseconds.append(1000 * (time.perf_counter() - start))
    return answer


def _compare(wanted: Prediction, answer: Prediction | KerasOrthoError, row: Compared, card: dict[str, Any]) -> None:
    if isinstance(answer, KerasOrthoError):
        row.refused_alike = False
        return
    if card["task"] == "classification":
        row.difference = max(row.difference, float(np.abs(answer.probabilities - wanted.probabilities).max()))
        row.same_labels += int(answer.probabilities.argmax() == wanted.probabilities.argmax())
        return
    a, b = (prediction.mask(card["threshold"]).astype(bool) for prediction in (wanted, answer))
    total = int(a.sum() + b.sum())
    row.smallest_dice = min(row.smallest_dice, 2 * int((a & b).sum()) / total if total else 1.0)
