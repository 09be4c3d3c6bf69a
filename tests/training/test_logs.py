"""The TensorBoard log: every number of the history once, whenever the process that wrote it was killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kerasortho.config import config_from_dict

tf = pytest.importorskip("tensorflow")
from kerasortho.training.fit import fit, resume  # noqa: E402
from kerasortho.training.logs import TensorBoardLog  # noqa: E402

ROWS = [{"epoch": e, "loss": 1 / e, "accuracy": 0.1 * e, "val_loss": 2 / e, "val_accuracy": 0.2 * e} for e in (1, 2, 3)]


def points(folder: Path) -> list[tuple[str, str, int, float]]:
    """Part, tag, step and value of all points, sorted: by TensorFlow's own reader."""
    return sorted(
        (file.parent.name, value.tag, event.step, float(tf.make_ndarray(value.tensor)))
        for file in folder.rglob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    )


def expected(rows: list[dict[str, float]]) -> list[tuple[str, str, int, float]]:
    return sorted(
        ("validation" if name[:4] == "val_" else "training", name.replace("val_", ""), int(row["epoch"]), float32)
        for row in rows
        for name, float32 in ((name, float(np.float32(value))) for name, value in row.items())
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The log of the first two epochs."""
    log = TensorBoardLog(tmp_path)
    for row in ROWS[:2]:
        log.write(int(row["epoch"]), row)
    return tmp_path


def test_tags_steps_and_values(folder):
    assert points(folder) == expected(ROWS[:2])
    assert ("training", "loss", 2, 0.5) in points(folder) and ("validation", "loss", 2, 1.0) in points(folder)


def test_tensorboard_takes_them_for_scalars(folder):
    files = list(folder.rglob("events.out.tfevents.*"))  # the names that TensorBoard looks for
    assert len(files) == 2
    for file in files:
        events = list(tf.compat.v1.train.summary_iterator(str(file)))
        assert events[0].file_version == "brain.Event:2"
        kinds = {value.metadata.plugin_data.plugin_name for event in events for value in event.summary.value}
        assert kinds == {"scalars"}


def test_an_epoch_that_was_not_written_is_added(folder):
    log = TensorBoardLog(folder)
    log.catch_up(ROWS)
    assert points(folder) == expected(ROWS)
    log.catch_up(ROWS)
    TensorBoardLog(folder).catch_up(ROWS)
    assert points(folder) == expected(ROWS)  # and once alone
    log.write(4, {**ROWS[2], "epoch": 4})
    assert points(folder) == expected([*ROWS, {**ROWS[2], "epoch": 4}])


def test_an_epoch_written_in_part_is_completed(folder):
    TensorBoardLog(folder).write(3, {"loss": ROWS[2]["loss"]})
    TensorBoardLog(folder).catch_up(ROWS)
    assert points(folder) == expected(ROWS)


@pytest.mark.parametrize("cut", [1, 20, 70])
def test_a_file_that_ends_in_the_middle_of_a_point(folder, cut):
    file = next((folder / "validation").glob("events*"))
    file.write_bytes(file.read_bytes()[:-cut])
    TensorBoardLog(folder).catch_up(ROWS)
    file.write_bytes(whole_records(file.read_bytes()))  # summary_iterator gives up at the cut; TensorBoard goes on
    assert points(folder) == expected(ROWS)


def whole_records(data: bytes) -> bytes:
    """What is whole of a file of records: length (8 bytes), its checksum (4), so many bytes, their checksum (4)."""
    end = 0
    while end + 8 <= len(data) and (following := end + 16 + int.from_bytes(data[end : end + 8], "little")) <= len(data):
        end = following
    return data[:end]


def test_nothing_was_written_yet(tmp_path):
    TensorBoardLog(tmp_path / "logs").catch_up(ROWS[:1])
    assert points(tmp_path) == expected(ROWS[:1])


@pytest.mark.parametrize("last", [1, 2])
def test_killed_between_checkpoint_and_log(tiny, tiny_models, dataset, tmp_path, monkeypatch, last):
    write = TensorBoardLog.write

    def killed(self, epoch, row):
        if epoch == last:
            raise KeyboardInterrupt
        write(self, epoch, row)

    monkeypatch.setattr(TensorBoardLog, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(config_from_dict(tiny.settings(dataset, batch_size=11)), runs=tmp_path)
    monkeypatch.undo()
    assert {step for _, _, step, _ in points(tmp_path)} == set(range(1, last))
    run = resume(tmp_path / "tiny")
    assert len(run.history()) == 2 and "val_accuracy" in run.history()[1]
    assert points(tmp_path) == expected(run.history())
