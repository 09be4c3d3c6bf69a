"""TensorBoard logs: the same numbers as history.csv, as curves."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
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
            part, tag = _place(name)
            if part not in self._writers:
                self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
            with self._writers[part].as_default():
                tf.summary.write(tag, tf.constant(value, tf.float32), epoch, _SCALAR)
        for writer in self._writers.values():
            writer.flush()

    def catch_up(self, rows: Sequence[dict[str, float]]) -> None:
        """Write what a killed process has not written of the history ``rows``: each point is there once."""
        written = {part: _points(self._folder / part) for part in ("training", "validation")}
        for row in rows:
            epoch = int(row["epoch"])
            places = {name: _place(name) for name in row}
            missing = {name for name, (part, tag) in places.items() if (tag, epoch) not in written[part]}
            self.write(epoch, {name: value for name, value in row.items() if name in missing})


def _place(name: str) -> tuple[str, str]:
    """Return the part of the log (its folder) and the tag under which a number of the history is written."""
    return "validation" if name.startswith("val_") else "training", name.removeprefix("val_")


def _points(folder: Path) -> set[tuple[str, int]]:
    """Return tag and step of all points in the event files of ``folder``; a file may end in the middle of one."""
    points = set()
    for file in folder.glob("events.out.tfevents.*"):
        with contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(file)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                points |= {(value.tag, event.step) for value in event.summary.value}
    return points
