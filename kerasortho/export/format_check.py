"""How good a converted model is beside the SavedModel it came from, on the same images.

With a run, on samples with truth: accuracy, or Dice at each image's own size, as `kerasortho evaluate` defines them,
and how much of it is lost. Without, on any images: how often the label, or how much of the mask, is another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kerasortho.data.samples import Sample
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.evaluate import SEED
from kerasortho.evaluation.intervals import ClusterBootstrap, mean_score
from kerasortho.evaluation.judging import Classified, Judged, Segmented, truth_of
from kerasortho.evaluation.segmentation import score_image
from kerasortho.machine import processor_count
from kerasortho.progress import Progress
from kerasortho.radiograph.preprocessing import Letterbox, Preprocessing, preprocess, to_native
from kerasortho.radiograph.reading import read_radiograph

SCORES = {"classification": ("accuracy", "correct"), "segmentation": ("dice", "dice")}  # overall, and of one image
TURNS, CALLS, TIMED_SECONDS = 8, 4, 4.0  # of each format; no turn begins after so long
THREADS = (1, 2)

Network = Callable[[np.ndarray], np.ndarray]  # (h, w) float32 -> (C,), or (h, w) of the foreground


@dataclass(frozen=True, eq=False)
class Prepared:
    """Images as a model takes them: ``images`` (n, h, w) float32, where the content lies, and which files cannot be."""

    files: Sequence[Path]
    images: np.ndarray
    boxes: Sequence[Letterbox]
    unusable: Mapping[Path, str]


class Check(Protocol):
    """Compares answers (n, C) or (n, h, w) with those of the SavedModel."""

    @property
    def images(self) -> np.ndarray:
        """The inputs to answer, (n, h, w) float32."""

    @property
    def boxes(self) -> Sequence[Letterbox]:
        """Where the content of each lies."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the answers are compared on, for the results."""

    def compare(self, answers: np.ndarray) -> dict[str, Any]:
        """Return "drop" with its interval, "agreement", "largest_difference" and, with truth, "score"."""


def prepare(files: Sequence[Path], spec: Preprocessing, label: str) -> Prepared:
    """Read and preprocess ``files`` as `kerasortho predict` does; those that cannot be read are left out, and named."""
    images = np.zeros((len(files), *spec.size), np.float32)
    boxes: list[Letterbox] = []
    used: list[Path] = []
    unusable: dict[Path, str] = {}

    def read(file: Path) -> tuple[np.ndarray, Letterbox] | KerasOrthoError:
        try:
            return preprocess(read_radiograph(file).pixels, spec)
        except KerasOrthoError as error:
            return error

    with ThreadPoolExecutor(processor_count()) as pool, Progress(len(files), label) as progress:
        for file, found in zip(files, pool.map(read, files), strict=True):
            if isinstance(found, KerasOrthoError):
                unusable[file] = str(found)
            else:
                images[len(used)], box = found
                used.append(file)
                boxes.append(box)
            progress.advance()
    if not used:
        first = next(iter(unusable.values()), "there is none.")
        raise KerasOrthoError(f"None of the {len(files)} images can be used. The first: {first}")
    return Prepared(used, images[: len(used)], boxes, unusable)


class TruthCheck:
    """On samples whose truth is known."""

    def __init__(
        self, samples: Sequence[Sample], card: Mapping[str, Any], reference: Network, *, resamples: int, label: str
    ) -> None:
        """Read the images of ``samples`` and ask ``reference``, which takes many images, (n, h, w)."""
        self._card = card
        prepared = prepare([s.image for s in samples], Preprocessing.from_dict(card["preprocessing"]), label)
        self._samples = [sample for sample in samples if sample.image not in prepared.unusable]
        self.boxes, self.images = prepared.boxes, prepared.images
        groups = [sample.group for sample in self._samples]
        self._bootstrap = ClusterBootstrap(groups, resamples=resamples, seed=SEED)
        self._truths: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._before = reference(self.images)
        self._judged = self._judge(self._before)

    @property
    def facts(self) -> dict[str, Any]:
        """What the answers are compared on, and how the SavedModel does there."""
        name, _ = SCORES[self._card["task"]]
        return {
            "images": self._bootstrap.images,
            "groups": self._bootstrap.groups,
            "score": name,
            "reference": self._score(self._judged),
        }

    def compare(self, answers: np.ndarray) -> dict[str, Any]:
        """Return the score and the drop, each with its 95 % interval by group, and how much the answers differ."""
        judged = self._judge(answers)
        column = SCORES[self._card["task"]][1]
        pairs = [(a[column], b[column]) for a, b in zip(self._judged.rows(), judged.rows(), strict=True)]
        counted = np.array([a != "" and b != "" for a, b in pairs])  # an image without foreground has no Dice
        lost = np.array([a - b if known else 0.0 for (a, b), known in zip(pairs, counted, strict=True)])
        return {
            "score": self._score(judged),
            "drop": self._bootstrap.estimate(mean_score(lost, counted), "no image with foreground"),
            **differences(self._before, answers, self.boxes, self._card),
        }

    def _score(self, judged: Judged) -> dict[str, Any]:
        summary = judged.summary(np.arange(len(self._samples)), self._bootstrap)
        score: dict[str, Any] = summary["metrics"][SCORES[self._card["task"]][0]]
        return score

    def _judge(self, answers: np.ndarray) -> Judged:
        if self._card["task"] == "classification":
            return Classified(self._samples, tuple(self._card["classes"]), answers)
        scores = [
            score_image(to_native(answer, box), *truth_of(sample, box.shape), self._card["threshold"])
            for sample, answer, box in zip(self._samples, answers, self.boxes, strict=True)
        ]
        return Segmented(self._samples, scores)


class ParityCheck:
    """On images of unknown truth: what another label, or another mask, would be if the SavedModel were right."""

    def __init__(self, prepared: Prepared, card: Mapping[str, Any], reference: Network) -> None:
        """Ask ``reference``, which takes many images, (n, h, w)."""
        self._card, self.images, self.boxes = card, prepared.images, prepared.boxes
        self._before = reference(prepared.images)

    @property
    def facts(self) -> dict[str, Any]:
        """How many images the answers are compared on; nothing is known of their truth."""
        return {"images": len(self.images), "score": "agreement with the SavedModel"}

    def compare(self, answers: np.ndarray) -> dict[str, Any]:
        """Return as drop what is missing to full agreement: the share of other labels, or 1 minus the masks' Dice."""
        found = differences(self._before, answers, self.boxes, self._card)
        return {"drop": {"value": 1.0 - found["agreement"], "low": None, "high": None}, **found}


def content_only(answers: np.ndarray, boxes: Sequence[Letterbox]) -> np.ndarray:
    """Return ``answers`` (n, h, w) with 0 in the padding, which nobody sees, and where a model may answer anything.

    A classifier's (n, C) are returned as they are.
    """
    if answers.ndim == 2:
        return answers
    kept = np.zeros_like(answers)
    for target, answer, box in zip(kept, answers, boxes, strict=True):
        target[box.content] = answer[box.content]
    return kept


def differences(
    before: np.ndarray, after: np.ndarray, boxes: Sequence[Letterbox], card: Mapping[str, Any]
) -> dict[str, float]:
    """Return the largest difference of a probability, and the agreement, of two sets of answers; padding aside.

    Agreement is the share of equal labels; of masks their Dice, at the model's own size, as the mean over images (two
    empty masks agree).
    """
    before, after = content_only(before, boxes), content_only(after, boxes)
    largest = float(np.abs(before - after).max())
    if card["task"] == "classification":
        return {"largest_difference": largest, "agreement": float((before.argmax(1) == after.argmax(1)).mean())}
    a, b = (answers >= np.float32(card["threshold"]) for answers in (before, after))
    both, each = (a & b).sum(axis=(1, 2)), a.sum(axis=(1, 2)) + b.sum(axis=(1, 2))
    dice = np.divide(2 * both, each, out=np.ones(len(a)), where=each > 0)
    return {"largest_difference": largest, "agreement": float(dice.mean())}


def latencies(networks: Mapping[str, Network], images: np.ndarray) -> dict[str, float]:
    """Return the median time of one call in milliseconds, by the names of ``networks``.

    They take turns, so that what else the machine does meanwhile burdens all alike. The first call of a turn does not
    count: threads of the one before still wait for work, and take processors by that, and the caches hold its weights.
    """
    times: dict[str, list[float]] = {name: [] for name in networks}
    start = time.perf_counter()
    for image in np.resize(images, (TURNS, *images.shape[1:])):
        for name, network in networks.items():
            network(image)
            for _ in range(CALLS):
                before = time.perf_counter()
                network(image)
                times[name].append(time.perf_counter() - before)
        if time.perf_counter() - start > TIMED_SECONDS * len(networks):
            break
    return {name: 1000 * float(np.median(found)) for name, found in times.items()}
