"""Apply a trained model to files: one plain answer a file, masks and overlays as PNG."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from kerasortho.config import Task
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Prediction, Predictor
from kerasortho.evaluation.outputs import (
    forget_failures,
    gather_files,
    mask_file,
    overlay_file,
    record_sources,
    result_names,
)
from kerasortho.files import require_writable
from kerasortho.radiograph.overlay import overlay as draw_overlay
from kerasortho.radiograph.preprocessing import SMALLEST_CONTRAST
from kerasortho.radiograph.raster import write_png
from kerasortho.training.run import RunDirectory

DECIMALS = 6
DISPLAY_PERCENTILES = (0.5, 99.5)
SMALLEST_OVERLAY = 512  # pixels of the longer side: smaller images are enlarged, to be looked at

PathLike = str | os.PathLike[str]


class AnyPredictor(Protocol):
    """A trained model that answers for files: `Predictor` here, `ServerPredictor` elsewhere."""

    task: Task
    classes: tuple[str, ...]
    threshold: float

    def predict(self, files: Sequence[Path]) -> Iterator[Prediction | KerasOrthoError]:
        """Yield a Prediction, or the error in its place, for each file in order."""


def predict(
    run: RunDirectory | PathLike | AnyPredictor,
    files: PathLike | Iterable[PathLike],
    *,
    output: PathLike | None = None,
    overlay: bool = True,
    threshold: float | None = None,
    batch_size: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the model's answer for each file, in order.

    Classification: ``{"file", "label", "probabilities": {class: p}}``. Segmentation: ``{"file", "mask",
    "foreground_fraction", "threshold", "size": [H, W], "spacing_mm"}`` and, with known spacing, "foreground_mm2";
    without ``output`` "mask" is the mask itself, (H, W) uint8 of {0, 1}, and "probability" the map (H, W) float32; with
    ``output`` "mask" and "overlay" are the PNG files written there. A file that cannot be read gives
    ``{"file", "error"}``, and nothing is written for it. What a reader of the answer should know about the file comes
    as "warnings".

    Args:
        run: a run directory whose training has ended; or a model that is loaded already, such as one on a server
            (`kerasortho.serving.client.ServerPredictor`), which has its own threshold and batches.
        files: files, and folders to be searched for images.
        output: folder for masks (0 and 255, at the image's own size) and overlays; segmentation only.
        overlay: write overlays, too.
        threshold: probability from which a pixel is foreground; None: the run's own.
        batch_size: images per call of the model; None chooses by task.

    Raises KerasOrthoError, before the first answer, where the run cannot be used or a folder holds no image; and where
    ``output`` cannot be written.
    """
    if isinstance(run, str | os.PathLike):
        run = RunDirectory(run)
    task, name = (run.config.task, run.path) if isinstance(run, RunDirectory) else (run.task, run)
    folder = None if output is None else Path(output)
    _check(task, str(name), folder, threshold)
    if folder is not None:
        require_writable(folder)
    found = gather_files([files] if isinstance(files, str | os.PathLike) else files, folder)
    predictor: AnyPredictor = Predictor(run, batch_size=batch_size) if isinstance(run, RunDirectory) else run
    named = [] if folder is None else [folder / name for name in result_names(found, folder)]
    stems: list[Path | None] = [*named] or [None] * len(found)

    def answers() -> Iterator[dict[str, Any]]:
        predictions = predictor.predict(found)
        if folder is not None:
            predictions = _recorded(predictions, found, named, folder)
        for file, stem, prediction in zip(found, stems, predictions, strict=True):
            if isinstance(prediction, KerasOrthoError):
                yield {"file": str(file), "error": _reason(prediction, file, stem)}
            elif predictor.task == "classification":
                yield _label(prediction, predictor.classes)
            else:
                yield _mask(prediction, predictor.threshold if threshold is None else threshold, stem, overlay)

    return answers()


def _recorded(
    predictions: Iterator[Prediction | KerasOrthoError], files: Sequence[Path], stems: Sequence[Path], folder: Path
) -> Iterator[Prediction | KerasOrthoError]:
    """Pass on the predictions, and keep the list of sources.

    It is written before the first result and, however the work ends, names only files that have results. Where nothing
    could be predicted, nothing is written.
    """
    recorded = False
    try:
        for prediction in predictions:
            if isinstance(prediction, Prediction) and not recorded:
                record_sources([stem.name for stem in stems], files, folder)
                recorded = True
            yield prediction
    finally:
        if recorded:
            forget_failures(folder)


def _check(task: Task, model: str, output: Path | None, threshold: float | None) -> None:
    if task == "classification" and (output is not None or threshold is not None):
        given = "output" if output is not None else "threshold"
        raise KerasOrthoError(
            f'"{given}" is for segmentation, and {model} is a classifier: its whole answer is in what is returned '
            f'for each file. Leave "{given}" out.'
        )
    if threshold is not None and not 0 < threshold < 1:
        raise KerasOrthoError(f"threshold must be between 0 and 1. Received: {threshold}.")


def _reason(error: KerasOrthoError, file: Path, stem: Path | None) -> str:
    """Return why ``file`` has no answer, without its path, and whether results of an earlier call are still there."""
    reason = str(error).removeprefix(f"{file}: ")
    if stem is None or not mask_file(stem).is_file():
        return reason
    return f"{reason} Its mask of an earlier call is still there: {mask_file(stem)}."


def _label(prediction: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
    shares = {name: round(float(p), DECIMALS) for name, p in zip(classes, prediction.probabilities, strict=True)}
    answer = {
        "file": str(prediction.file),
        "label": classes[int(prediction.probabilities.argmax())],
        "probabilities": shares,
    }
    return _with_warnings(answer, prediction)


def _mask(prediction: Prediction, threshold: float, stem: Path | None, overlay: bool) -> dict[str, Any]:
    mask = prediction.mask(threshold)
    answer: dict[str, Any] = {"file": str(prediction.file)}
    if stem is None:
        answer |= {"mask": mask, "probability": prediction.probabilities}
    else:
        answer |= _write(prediction, mask, stem, overlay)
    answer |= {
        "foreground_fraction": round(float(mask.mean()), DECIMALS),
        "threshold": threshold,
        "size": list(prediction.shape),
        "spacing_mm": None if prediction.spacing_mm is None else list(prediction.spacing_mm),
    }
    if prediction.spacing_mm is not None:
        row, column = prediction.spacing_mm
        answer["foreground_mm2"] = round(int(mask.sum()) * row * column, 3)
    return _with_warnings(answer, prediction)


def _write(prediction: Prediction, mask: np.ndarray, stem: Path, overlay: bool) -> dict[str, str]:
    """Write the mask and the overlay next to each other; return their paths."""
    assert prediction.radiograph is not None
    files = {"mask": str(mask_file(stem))}
    overlay_file(stem).unlink(missing_ok=True)  # one of an earlier call would not show the new mask
    write_png(files["mask"], mask * np.uint8(255))
    if overlay:
        files["overlay"] = str(overlay_file(stem))
        write_png(files["overlay"], draw_overlay(*_enlarged(_stretched(prediction.radiograph.pixels), mask)))
    return files


def _enlarged(pixels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and mask (H, W), a whole number of times as large where they are small to look at."""
    times = -(-SMALLEST_OVERLAY // max(mask.shape))
    if times == 1:
        return pixels, mask
    smooth = cv2.resize(pixels, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return smooth, mask.repeat(times, axis=0).repeat(times, axis=1)


def _stretched(pixels: np.ndarray) -> np.ndarray:
    """Return ``pixels`` (H, W) with the contrast that people need; 12 bits in a 16-bit file look black otherwise."""
    low, high = np.percentile(pixels[::2, ::2], DISPLAY_PERCENTILES)
    return np.clip((pixels - low) / max(high - low, SMALLEST_CONTRAST), 0.0, 1.0)


def _with_warnings(answer: dict[str, Any], prediction: Prediction) -> dict[str, Any]:
    return {**answer, "warnings": list(prediction.warnings)} if prediction.warnings else answer
