"""The checkpoint: everything that a training remembers, in one file that is whole or not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError

keras = pytest.importorskip("keras")
from kerasortho.training import state as state_module  # noqa: E402
from kerasortho.training.state import (  # noqa: E402
    Progression,
    load_progression,
    load_state,
    load_weights,
    save_state,
    save_weights,
)


def make_model(units: int = 3) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.AdamW(0.01), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    data = np.zeros((2, 4), np.float32)
    model.test_on_batch(data, data[:, :1])
    model.reset_metrics()
    return model


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    model = make_model()
    random = np.random.default_rng(0)
    for _ in range(3):
        model.train_on_batch(random.random((8, 4)), random.random((8, 1)))
    return model


PROGRESS = Progression(
    epoch=3, phase=1, phase_epoch=2, batch=5, seconds=1.5, best=0.25, best_epoch=2, waited=1, history=[{"loss": 0.5}]
)


def values(model: keras.Model) -> list[np.ndarray]:
    everything = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return [v.numpy() for v in everything]


def test_everything_comes_back(trained, tmp_path):
    save_state(tmp_path / "last.npz", trained, PROGRESS)
    other = make_model()
    assert not all(np.array_equal(a, b) for a, b in zip(values(other), values(trained), strict=True))
    load_state(tmp_path / "last.npz", other)
    assert all(np.array_equal(a, b) for a, b in zip(values(other), values(trained), strict=True))
    assert load_progression(tmp_path / "last.npz") == PROGRESS
    kinds = {v.path.split("/")[-1] for v in [*trained.variables, *trained.optimizer.variables]}
    assert {"seed_generator_state", "moving_mean", "iteration"} <= kinds  # and they are among what was compared
    random = np.random.default_rng(1)
    batch = random.random((8, 4)), random.random((8, 1))
    assert trained.train_on_batch(*batch) == other.train_on_batch(*batch)  # the same neurons dropped, the same means


def test_weights_alone(trained, tmp_path):
    save_weights(tmp_path / "best.npz", trained)
    other = make_model()
    load_weights(tmp_path / "best.npz", other)
    pairs = zip(other.weights, trained.weights, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)


def test_another_model_is_refused(trained, tmp_path):
    save_state(tmp_path / "last.npz", trained, PROGRESS)
    with pytest.raises(KerasOrthoError, match="belongs to another model"):
        load_state(tmp_path / "last.npz", make_model(5))


def test_another_format_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(state_module, "FORMAT", 99)
    save_state(tmp_path / "last.npz", trained, PROGRESS)
    monkeypatch.undo()
    with pytest.raises(KerasOrthoError, match=r"checkpoint format 99.*reads format 1"):
        load_progression(tmp_path / "last.npz")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[200] ^= 255  # in the first array, right behind its header
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def foreign(file: Path) -> None:
    file.write_bytes(b"not an archive at all")


def other_arrays(file: Path) -> None:
    np.savez(file, a=np.zeros(3))


@pytest.mark.parametrize("damage", [cut, flip, empty, foreign, other_arrays])
def test_damage_is_told_in_one_sentence(trained, tmp_path, damage):
    last, best = tmp_path / "last.npz", tmp_path / "best.npz"
    save_state(last, trained, PROGRESS)
    save_weights(best, trained)
    for file in (last, best):
        damage(file)
    for load in (load_progression, lambda file: load_state(file, trained)):
        with pytest.raises(KerasOrthoError, match=r"The checkpoint .*last\.npz is damaged"):
            load(last)
    with pytest.raises(KerasOrthoError, match=r"The checkpoint .*best\.npz is damaged"):
        load_weights(best, make_model())


def test_missing(trained, tmp_path):
    with pytest.raises(KerasOrthoError, match=r"The checkpoint .*best\.npz is missing"):
        load_weights(tmp_path / "best.npz", trained)


def test_a_failed_write_leaves_the_old_checkpoint(trained, tmp_path, monkeypatch):
    save_state(tmp_path / "last.npz", trained, PROGRESS)
    before = (tmp_path / "last.npz").read_bytes()

    def fail(file: Path, **arrays: np.ndarray) -> None:
        Path(file).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_module.np, "savez", fail)
    for save in (lambda: save_state(tmp_path / "last.npz", trained, Progression()),
                 lambda: save_weights(tmp_path / "last.npz", trained)):  # fmt: skip
        with pytest.raises(KerasOrthoError, match=r"No space left on the disk while writing .*last\.npz"):
            save()
    assert (tmp_path / "last.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["last.npz"]


@pytest.mark.parametrize(("mode", "series", "best", "waited"), [
    ("min", [3.0, 2.0, 2.0, 2.5], (2.0, 2), 2),
    ("max", [0.1, 0.5, 0.4], (0.5, 2), 1),
    ("max", [float("nan"), 0.1], (0.1, 2), 0),
    ("min", [1.0, float("nan")], (1.0, 1), 1),
    ("max", [0.0, 0.0], (0.0, 1), 1),
])  # fmt: skip
def test_progression_remembers_the_best(mode, series, best, waited):
    at = Progression()
    for value in series:
        at.epoch += 1
        at.improved(value, mode)
    assert (at.best, at.best_epoch) == best and at.waited == waited
    assert Progression(**json.loads(json.dumps(at.__dict__))) == at
