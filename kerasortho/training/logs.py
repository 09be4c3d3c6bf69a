"""TensorBoard logs: the same numbers as history.csv, as curves."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

# What `tf.summary.scalar` of the tensorboard package writes; TensorFlow no longer brings that package along.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
)


class TensorBoardLog:
    """Writes scalars to ``folder``: one file for training, one for validation, so that curves lie over each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def write(self, epoch: int, row: dict[str, float]) -> None:
        """Write the numbers of one epoch; names that begin with ``val_`` go to the validation curve."""
        for name, value in row.items():
            part = "validation" if name.startswith("val_") else "training"
            if part not in self._writers:
                self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
            with self._writers[part].as_default():
                tf.summary.write(name.removeprefix("val_"), tf.constant(value, tf.float32), epoch, _SCALAR)
        for writer in self._writers.values():
            writer.flush()
