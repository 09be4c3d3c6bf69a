"""From a run directory to a model that servers load: ``exported/NAME/VERSION/``, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Predictor
from kerasortho.export.card import CARD, make_card
from kerasortho.export.server_files import read_models_config, versions_of, write_server_files
from kerasortho.export.signatures import (
    DEFAULT_SIGNATURE,
    ROUNDING,
    TENSOR_SIGNATURE,
    ServedClassifier,
    ServedModel,
    ServedSegmenter,
)
from kerasortho.export.warmup import warmup_image, write_warmup
from kerasortho.files import explain_os_error, locked, require_writable, sha256_file, write_json
from kerasortho.radiograph.preprocessing import Letterbox, preprocess, to_native
from kerasortho.radiograph.reading import DEFAULT_MAX_PIXELS, decode_radiograph
from kerasortho.serving.settings import read_batching
from kerasortho.training.run import RunDirectory

TOLERANCE = 1e-4  # largest difference in probability between Keras and the exported model
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def export(
    run: RunDirectory | str | os.PathLike[str],
    to: str | os.PathLike[str] = "exported",
    *,
    name: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    label: str | None = None,
) -> Path:
    """Write the model of ``run`` as the next version of ``to/NAME`` and return that folder.

    Args:
        run: a run directory whose training has ended.
        to: folder of all exported models; files that servers need lie beside them (`server_files`).
        name: of the model; None: the name of the run directory.
        max_pixels: images with more are refused by the exported model.
        label: another name for this version, taken from the version that had it; clients ask for ``/labels/LABEL``.

    Raises:
        KerasOrthoError: if the run cannot be used, the name is not fit for a URL, the folder cannot be written, or the
            exported model does not answer as the Keras model does. Nothing is left behind then.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    name = run.path.resolve().name if name is None else name
    _require_address(name, "model's name", "--name")
    if label is not None:
        _require_address(label, "label", "--label")
    folder = Path(to)
    read_models_config(folder)  # a damaged one is told before the work
    most = read_batching(folder).max_batch_size  # TensorFlow Serving loads no version whose warm-up asks for more
    require_writable(folder / name)
    before = sha256_file(run.path / "model.keras") if run.complete else ""
    predictor = Predictor(run, batch_size=2)  # checks that the model belongs to the run
    with locked(folder / ".lock", wait=True):
        with _new_version(folder / name) as (version, temporary):
            card = make_card(run, name=name, version=version, max_pixels=max_pixels)
            if card["model_sha256"] != before:
                raise KerasOrthoError(f"{run.path} was trained on while it was exported. Export it again afterwards.")
            _save(predictor, temporary, max_pixels)
            drawing = warmup_image(max_pixels)
            _check(predictor, temporary, drawing)
            write_warmup(temporary, drawing, name=name, size=predictor.spec.size, max_batch=most)
            write_json(temporary / CARD, card)
        write_server_files(folder, exported=name, label=(name, label, version) if label is not None else None)
    return folder / name / str(version)


def _require_address(word: str, what: str, option: str) -> None:
    if not _NAME.fullmatch(word):
        raise KerasOrthoError(
            f"A {what} becomes part of an address: letters, digits, '.', '_' and '-', beginning with a letter "
            f"or digit. Received: {word!r}. Choose another with {option}."
        )


@contextmanager
def _new_version(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the next version's number and a temporary folder that becomes it, once the block ends without an error.

    A server that polls ``folder`` sees only whole versions: it skips names that are no numbers. What an export that was
    killed has left is removed: the caller holds the lock, so nobody else writes now.
    """
    version = max(versions_of(folder), default=0) + 1
    for leftover in folder.glob(".[0-9]*-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=folder))
    except OSError as error:
        raise explain_os_error(error, folder) from error
    try:
        yield version, temporary
        temporary.chmod(0o755)
        os.rename(temporary, folder / str(version))
    except OSError as error:
        raise explain_os_error(error, folder / str(version)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def _save(predictor: Predictor, folder: Path, max_pixels: int) -> None:
    served: ServedModel
    if predictor.task == "classification":
        served = ServedClassifier(predictor.model, predictor.spec, max_pixels, predictor.classes)
    else:
        served = ServedSegmenter(predictor.model, predictor.spec, max_pixels, predictor.threshold)
    try:
        tf.saved_model.save(served, str(folder), signatures=served.signatures())
    except tf.errors.OpError as error:
        if "No space left" in str(error):
            raise KerasOrthoError(f"No space left on the disk while writing {folder}. Free some.") from error
        raise


def _check(predictor: Predictor, folder: Path, file: bytes) -> None:
    """Load what was written and compare its answers, to noise and to a drawing, with those of the Keras model.

    The drawing, a PNG ``file``, is also sent as such, so that decoding, preprocessing and drawing in the graph are
    compared, too.
    """
    drawing, box = preprocess(decode_radiograph(file).pixels, predictor.spec)
    noise = np.random.default_rng(0).random(drawing.shape, np.float32)
    images = np.stack([drawing, noise])
    signatures = tf.saved_model.load(str(folder)).signatures
    (answer,) = signatures[TENSOR_SIGNATURE](image=tf.constant(images[..., None])).values()
    expected = predictor.ask(images)
    of_tensor = np.abs(answer.numpy().reshape(expected.shape) - expected).max()
    row = {key: value.numpy()[0] for key, value in signatures[DEFAULT_SIGNATURE](tf.constant([file])).items()}
    difference = float(np.maximum(of_tensor, _difference(row, expected[0], box, predictor.threshold)))  # NaN stays
    if not difference <= TOLERANCE:
        raise KerasOrthoError(
            f"The exported model does not answer as the run's Keras model does: probabilities differ by "
            f"{difference:.2g} (at most {TOLERANCE} is allowed). Nothing was exported. This is a fault of kerasortho "
            "or of this TensorFlow: please report it with the output of `kerasortho doctor`."
        )


def _difference(row: dict[str, Any], expected: np.ndarray, box: Letterbox, threshold: float) -> float:
    """Return how far the answer to a file is from the ``expected`` one, (C,) or (h, w): in probability, at most.

    Of a mask: how far a pixel that it puts on the wrong side of the threshold is from it.
    """
    if expected.ndim == 1:
        return float(np.abs(row["probabilities"] - expected).max())
    native = to_native(expected, box)
    levels, mask = (tf.io.decode_png(row[f"{key}_png_bytes"]).numpy()[..., 0] for key in ("probability", "mask"))
    wrong = (mask > 0) != (native >= np.float32(threshold))
    of_map = np.abs(levels / np.float32(255) - native).max() - ROUNDING
    return float(np.maximum(of_map, np.abs(native - threshold)[wrong].max(initial=0.0)))
