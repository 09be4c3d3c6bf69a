"""A model's answers beside the truth, image by image: what the scores, the tables and the figures are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kerasortho.data.samples import Sample
from kerasortho.data.store import read_fitting_mask
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation import classification, segmentation
from kerasortho.evaluation.inference import Prediction, Predictor
from kerasortho.evaluation.intervals import ClusterBootstrap
from kerasortho.evaluation.segmentation import PixelScores, score_image
from kerasortho.progress import Progress

DECIMALS = 6


class Judged(Protocol):
    """Answers and truth for some samples."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples that were judged."""

    def summary(self, chosen: np.ndarray, bootstrap: ClusterBootstrap) -> dict[str, Any]:
        """Return the scores of the ``chosen`` samples (indices)."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row a sample for the table of single images."""


@dataclass(frozen=True, eq=False)
class Classified:
    """Class probabilities (n, C) beside true classes (n,)."""

    samples: Sequence[Sample]
    classes: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def truth(self) -> np.ndarray:
        """Index of the true class, (n,) int."""
        return np.array([sample.label for sample in self.samples], int)

    def summary(self, chosen: np.ndarray, bootstrap: ClusterBootstrap) -> dict[str, Any]:
        """Return the scores of the ``chosen`` samples."""
        return classification.summarise(self.truth[chosen], self.probabilities[chosen], self.classes, bootstrap)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield image, group, truth, prediction, correct and one probability a class."""
        for sample, probabilities in zip(self.samples, self.probabilities, strict=True):
            predicted = int(probabilities.argmax())
            yield {
                "image": sample.name,
                "group": sample.group,
                "truth": self.classes[sample.label],
                "prediction": self.classes[predicted],
                "correct": int(predicted == sample.label),
                **{f"p_{c}": round(float(p), DECIMALS) for c, p in zip(self.classes, probabilities, strict=True)},
            }


@dataclass(frozen=True, eq=False)
class Segmented:
    """Pixel scores, one a sample."""

    samples: Sequence[Sample]
    scores: Sequence[PixelScores]

    def summary(self, chosen: np.ndarray, bootstrap: ClusterBootstrap) -> dict[str, Any]:
        """Return the scores of the ``chosen`` samples."""
        return segmentation.summarise([self.scores[i] for i in chosen], bootstrap)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield image, group, the scores and the pixel counts; undefined scores are empty cells."""
        for sample, score in zip(self.samples, self.scores, strict=True):
            shares = {
                name: getattr(score, name) for name in ("dice", "iou", "precision", "recall", "bce", "max_probability")
            }
            yield {
                "image": sample.name,
                "group": sample.group,
                **{name: "" if value is None else round(value, DECIMALS) for name, value in shares.items()},
                "counted_pixels": score.counted,
                "truth_pixels": score.truth,
                "predicted_pixels": score.marked,
                "true_positive_pixels": score.true_positive,
            }


def judge(predictor: Predictor, samples: Sequence[Sample], label: str) -> tuple[Judged, dict[str, str]]:
    """Ask the model about ``samples``; return the judged ones and, by name, why the others cannot be judged."""
    judged: list[Sample] = []
    answers: list[Any] = []
    unusable: dict[str, str] = {}
    with Progress(len(samples), label) as progress:
        predictions = predictor.predict([sample.image for sample in samples], [sample.blank for sample in samples])
        for sample, prediction in zip(samples, predictions, strict=True):
            try:
                answers.append(_answer(sample, prediction, predictor.threshold))
                judged.append(sample)
            except KerasOrthoError as error:
                unusable[sample.name] = str(error)
            progress.advance(1)
    if not judged:
        raise KerasOrthoError(
            f"None of the {len(samples)} images can be judged. The first: {next(iter(unusable.values()))}"
        )
    if predictor.task == "classification":
        return Classified(judged, predictor.classes, np.stack(answers)), unusable
    return Segmented(judged, answers), unusable


def truth_of(sample: Sample, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mask and the ignore mask, (H, W) of {0, 1}, of a segmentation sample; both must have ``shape``."""
    assert sample.mask is not None  # load_samples leaves out rows without a mask
    mask = read_fitting_mask(sample.mask, sample.image, shape)
    return mask, None if sample.ignore is None else read_fitting_mask(sample.ignore, sample.image, shape)


def _answer(sample: Sample, prediction: Prediction | KerasOrthoError, threshold: float) -> np.ndarray | PixelScores:
    if isinstance(prediction, KerasOrthoError):
        raise prediction
    if sample.mask is None:
        return prediction.probabilities
    mask, ignore = truth_of(sample, prediction.shape)
    return score_image(prediction.probabilities, mask, ignore, threshold)
