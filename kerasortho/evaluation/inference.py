"""The one way from image files to a trained model's answers in Python: read, preprocess, ask the model, map back."""

from __future__ import annotations

import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from kerasortho.data.blanking import Box, read_blanked
from kerasortho.errors import KerasOrthoError
from kerasortho.machine import processor_count
from kerasortho.radiograph.preprocessing import Letterbox, preprocess, to_native
from kerasortho.radiograph.radiograph import Radiograph
from kerasortho.training.run import RunDirectory

BATCH_SIZES = {"classification": 16, "segmentation": 4}  # a segmented image is kept in full until it is answered

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one image.

    radiograph: the image as it was read; None for a classifier, which does not need it any more.
    probabilities: classification, (C,) float32 summing to 1; segmentation, (H, W) float32, the foreground probability
        of each pixel at the image's own size.
    """

    file: Path
    shape: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    warnings: tuple[str, ...]
    probabilities: np.ndarray
    radiograph: Radiograph | None

    def mask(self, threshold: float) -> np.ndarray:
        """Return (H, W) uint8: 1 where the foreground probability is at least ``threshold``."""
        return (self.probabilities >= np.float32(threshold)).astype(np.uint8)


class Predictor:
    """A trained model, ready to answer for files.

    Example::

        predictor = Predictor(RunDirectory("runs/bone-unet"))
        for prediction in predictor.predict(files):
            if isinstance(prediction, Prediction):
                mask = prediction.mask(predictor.threshold)
    """

    def __init__(self, run: RunDirectory, *, batch_size: int | None = None, workers: int = 0) -> None:
        """Load the model of ``run``. Raises KerasOrthoError if it is not there or does not fit the configuration.

        Args:
            run: a run whose training has ended.
            batch_size: images per call of the model; None chooses by task.
            workers: threads that read files ahead of the model; 0: one a core.
        """
        from kerasortho.models.float32 import in_float32

        self.classes = run.classes
        self.task = run.config.task
        self.spec = run.config.preprocessing
        self.threshold = run.config.evaluation.threshold
        self.batch_size = batch_size or BATCH_SIZES[self.task]
        self._shape_fixed = False
        self._workers = workers or processor_count()
        _require_whole(run.path / "model.keras", run)
        self.model = in_float32(run.load_model())  # one answer everywhere: exported models are float32, too
        self._check_shapes(run)

    def predict(
        self, files: Sequence[Path], blank: Sequence[Sequence[Box]] = ()
    ) -> Iterator[Prediction | KerasOrthoError]:
        """Yield, in the order of ``files``, a Prediction each, or the error that explains why a file has none.

        ``blank`` gives each file's boxes to blank; nothing is blanked without it.
        """
        if not self._shape_fixed:  # a few files need no large batch; another shape later would compile the model again
            self.batch_size, self._shape_fixed = max(1, min(self.batch_size, len(files))), True
        size = self.batch_size
        with ThreadPoolExecutor(self._workers) as pool:
            items = zip(files, blank or [()] * len(files), strict=True)
            readings = ahead(pool, self._read, items, size + self._workers)
            while batch := list(islice(readings, size)):
                yield from self._answer(batch)

    def ask(self, images: np.ndarray) -> np.ndarray:
        """Return the model's answers to ``images`` (B, h, w) float32 in [0, 1].

        Classification: (B, C) float32. Segmentation: foreground probability (B, h, w) float32; of a two-channel softmax
        it is channel 1.
        """
        answers = np.asarray(self.model.predict_on_batch(images[..., None]), np.float32)
        return answers if self.task == "classification" else answers[..., -1]

    def _answer(self, batch: Sequence[_Reading | KerasOrthoError]) -> Iterator[Prediction | KerasOrthoError]:
        images = np.zeros(
            (self.batch_size, *self.spec.size), np.float32
        )  # a smaller last batch is filled up with zeros
        for index, reading in enumerate(batch):
            if isinstance(reading, _Reading):
                images[index] = reading.image
        answers = self.ask(images) if any(isinstance(reading, _Reading) for reading in batch) else images
        for reading, answer in zip(batch, answers, strict=False):
            yield reading.prediction(answer) if isinstance(reading, _Reading) else reading

    def _read(self, item: tuple[Path, Sequence[Box]]) -> _Reading | KerasOrthoError:
        file, blank = item
        try:
            radiograph = read_blanked(file, blank)
        except KerasOrthoError as error:
            return error
        except Exception as error:  # a decoder that stumbles over one file must not take the other files along
            return KerasOrthoError(f"{file}: the file cannot be decoded ({type(error).__name__}). It may be damaged.")
        image, box = preprocess(radiograph.pixels, self.spec)
        return _Reading(Path(file), image, box, radiograph, keep=self.task == "segmentation")

    def _check_shapes(self, run: RunDirectory) -> None:
        wanted: tuple[int | None, ...] = (None, *self.spec.size, 1)
        channels = (len(self.classes),) if self.task == "classification" else (1, 2)
        given, answer = tuple(self.model.input_shape), tuple(self.model.output_shape)
        fits = all(a is None or a == b for a, b in zip(given, wanted, strict=False)) and len(given) == len(wanted)
        if not fits or answer[-1] not in channels:
            raise KerasOrthoError(
                f"{run.path / 'model.keras'} does not belong to this run: it takes {given} and gives {answer}, while "
                f"the run has inputs of (height, width) {self.spec.size} and the classes {', '.join(self.classes)}. "
                "Restore the model file of this run."
            )


def _require_whole(file: Path, run: RunDirectory) -> None:
    """Raise KerasOrthoError if a model file that is there is not what was written: cut off, or altered on its way."""
    if not run.complete:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip() is not None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        damaged = True
    if damaged:
        raise KerasOrthoError(
            f"{file} is damaged: it was cut off or altered after it was written. Copy it anew from where it is whole; "
            f"or delete it, and `kerasortho fit --resume {run.path}` writes it again from the last checkpoint."
        )


class _Reading:
    """One file, read and preprocessed, waiting for the model."""

    def __init__(self, file: Path, image: np.ndarray, box: Letterbox, radiograph: Radiograph, *, keep: bool) -> None:
        self.file, self.image, self.box = file, image, box
        self.spacing_mm, self.warnings = radiograph.spacing_mm, radiograph.warnings
        self.radiograph = radiograph if keep else None

    def prediction(self, answer: np.ndarray) -> Prediction:
        """Return the model's ``answer`` (C,) or (h, w) as a prediction for this file."""
        probabilities = to_native(answer, self.box) if answer.ndim == 2 else answer
        return Prediction(self.file, self.box.shape, self.spacing_mm, self.warnings, probabilities, self.radiograph)


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], lead: int
) -> Iterator[Result]:
    """Yield ``work(item)`` in order, computed in the pool's threads at most ``lead`` items ahead of the reader."""
    waiting: deque[Future[Result]] = deque()
    remaining = iter(items)
    try:
        for item in islice(remaining, lead):
            waiting.append(pool.submit(work, item))
        while waiting:
            result = waiting.popleft().result()
            for item in islice(remaining, 1):
                waiting.append(pool.submit(work, item))
            yield result
    finally:
        for future in waiting:
            future.cancel()
