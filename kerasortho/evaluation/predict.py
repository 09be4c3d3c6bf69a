"""Apply a trained model to files: one plain answer a file, masks and overlays as PNG."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Prediction, Predictor
from kerasortho.evaluation.outputs import forget_failures, gather_files, mask_file, result_names
from kerasortho.radiograph.overlay import overlay as draw_overlay
from kerasortho.radiograph.preprocessing import SMALLEST_CONTRAST
from kerasortho.radiograph.raster import write_png
from kerasortho.training.run import RunDirectory

DECIMALS = 6
DISPLAY_PERCENTILES = (0.5, 99.5)

PathLike = str | os.PathLike[str]


def predict(
    run: RunDirectory | PathLike,
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
    ``{"file", "error"}``. What a reader of the answer should know about the file comes as "warnings".

    Args:
        run: a run directory whose training has ended.
        files: files, and folders to be searched for images.
        output: folder for masks (0 and 255, at the image's own size) and overlays; segmentation only.
        overlay: write overlays, too.
        threshold: probability from which a pixel is foreground; None: the run's own.
        batch_size: images per call of the model; None chooses by task.

    Raises KerasOrthoError, before the first answer, where the run cannot be used or a folder holds no image; and where
    ``output`` cannot be written.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    folder = None if output is None else Path(output)
    _check(run, folder, threshold)
    found = gather_files([files] if isinstance(files, str | os.PathLike) else files, folder)
    predictor = Predictor(run, batch_size=batch_size)
    names = [""] * len(found) if folder is None else result_names(found, folder)
    limit = predictor.threshold if threshold is None else threshold

    def answers() -> Iterator[dict[str, Any]]:
        for file, name, prediction in zip(found, names, predictor.predict(found), strict=True):
            if isinstance(prediction, KerasOrthoError):
                yield {"file": str(file), "error": str(prediction)}
            elif predictor.task == "classification":
                yield _label(prediction, predictor.classes)
            else:
                yield _mask(prediction, limit, None if folder is None else folder / name, overlay)

    return answers() if folder is None else _recorded(answers(), folder)


def _recorded(answers: Iterator[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Pass on the answers; however that ends, the list of sources then names only files that have results."""
    try:
        yield from answers
    finally:
        forget_failures(folder)


def _check(run: RunDirectory, output: Path | None, threshold: float | None) -> None:
    if run.config.task == "classification" and (output is not None or threshold is not None):
        given = "output" if output is not None else "threshold"
        raise KerasOrthoError(
            f"{given} is for segmentation, and {run.path} is a classifier: its whole answer is in the lines printed. "
            f"Leave {given} out."
        )
    if threshold is not None and not 0 < threshold < 1:
        raise KerasOrthoError(f"threshold must be between 0 and 1. Received: {threshold}.")


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
    write_png(files["mask"], mask * np.uint8(255))
    if overlay:
        files["overlay"] = f"{stem}_overlay.png"
        write_png(files["overlay"], draw_overlay(_stretched(prediction.radiograph.pixels), mask))
    return files


def _stretched(pixels: np.ndarray) -> np.ndarray:
    """Return ``pixels`` (H, W) with the contrast that people need; 12 bits in a 16-bit file look black otherwise."""
    low, high = np.percentile(pixels[::2, ::2], DISPLAY_PERCENTILES)
    return np.clip((pixels - low) / max(high - low, SMALLEST_CONTRAST), 0.0, 1.0)


def _with_warnings(answer: dict[str, Any], prediction: Prediction) -> dict[str, Any]:
    return {**answer, "warnings": list(prediction.warnings)} if prediction.warnings else answer
