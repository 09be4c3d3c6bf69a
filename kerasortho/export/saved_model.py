"""An exported SavedModel opened again: the answers that every converted format is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasortho.errors import KerasOrthoError
from kerasortho.export.signatures import TENSOR_SIGNATURE

BATCH = 8  # images answered at once


class SavedModel:
    """The ``tensor`` signature of an exported model."""

    def __init__(self, folder: Path) -> None:
        """Load the SavedModel in ``folder``. Raises KerasOrthoError if there is none with that signature."""
        try:
            self.loaded = tf.saved_model.load(str(folder))
            self._ask = self.loaded.signatures[TENSOR_SIGNATURE]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise KerasOrthoError(
                f"{folder} cannot be loaded as an exported model: {str(error).splitlines()[0]} "
                "Export the run again with `kerasortho export`."
            ) from None
        ((_, given), (self._output,)) = self._ask.structured_input_signature, self._ask.structured_outputs
        self.size: tuple[int, int] = tuple(given["image"].shape[1:3])

    def answers(self, images: np.ndarray) -> np.ndarray:
        """Return the answers to ``images`` (n, h, w) float32 in [0, 1]: (n, C), or (n, h, w) of the foreground."""
        parts = []
        for start in range(0, len(images), BATCH):
            batch = tf.constant(np.ascontiguousarray(images[start : start + BATCH, ..., None]))
            answer = self._ask(image=batch)[self._output].numpy()
            parts.append(answer[..., 0] if answer.ndim == 4 else answer)
        return np.concatenate(parts)

    def function(self, batch: int | None) -> Any:
        """Return the signature as a TensorFlow function of ``image`` (batch, h, w, 1); any number of images if None."""
        spec = tf.TensorSpec([batch, *self.size, 1], tf.float32, name="image")
        return tf.function(lambda image: self._ask(image=image), input_signature=[spec])
