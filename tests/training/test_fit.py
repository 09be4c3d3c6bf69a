"""`kerasortho.fit` from Python: what it leaves behind, and what it does not when it fails."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

import kerasortho
from kerasortho.config import config_from_dict
from kerasortho.errors import Interrupted, KerasOrthoError
from kerasortho.files import locked

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from kerasortho.training.fit import fit, resume  # noqa: E402
from kerasortho.training.loop import Trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def values(tiny, dataset):
    """A configuration of two epochs of two batches, as plain data."""
    return tiny.settings(dataset, batch_size=11)


@pytest.fixture(autouse=True)
def precision():
    """A run sets Keras's precision for the whole process: set it back."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def two_phases(tiny, dataset, tmp_path_factory):
    """A finished run: the head first, then the backbone's last layer, too."""
    tiny.register()
    phases = [{"epochs": 1, "learning_rate": 0.01}, {"epochs": 2, "learning_rate": 0.01, "unfreeze_from": "conv2"}]
    config = config_from_dict(tiny.settings(dataset, batch_size=11, phases=phases, class_weights="auto"))
    runs = tmp_path_factory.mktemp("runs")
    return kerasortho.fit(config, ["augmentation.horizontal_flip=true"], runs=runs, name="two")


class TestFinished:
    """What a finished run directory holds."""

    def test_files(self, two_phases):
        names = {p.name for p in two_phases.path.iterdir()}
        assert names >= {"config.yaml", "data.json", "split.csv", "environment.json", "plan.json", "history.csv",
                         "training.json", "model.keras", "checkpoints", "logs"}  # fmt: skip
        assert {p.name for p in (two_phases.path / "checkpoints").iterdir()} == {"last.npz", "best.npz"}
        assert two_phases.complete
        assert list((two_phases.path / "logs" / "validation").glob("events*"))

    def test_settings_and_name_count(self, two_phases):
        assert two_phases.path.name == two_phases.config.name == "two"
        assert two_phases.config.augmentation.horizontal_flip

    def test_history(self, two_phases):
        rows = two_phases.history()
        assert [row["epoch"] for row in rows] == [1, 2, 3] and [row["phase"] for row in rows] == [1, 2, 2]
        assert set(rows[0]) == {
            "epoch", "phase", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"}  # fmt: skip
        assert all(np.isfinite(list(row.values())).all() for row in rows)
        assert rows[-1]["learning_rate"] == pytest.approx(0.01 * 0.01, rel=1e-4)  # the cosine's end

    def test_training_json_names_the_best_epoch(self, two_phases):
        told = json.loads((two_phases.path / "training.json").read_text())
        losses = [row["val_loss"] for row in two_phases.history()]
        assert told["best"] == {"val_loss": min(losses)} and told["best_epoch"] == 1 + int(np.argmin(losses))
        assert told["epochs"] == 3 and told["peak_memory_bytes"] > 1e8

    def test_model_is_the_best_one(self, two_phases, arrays):
        model = keras.saving.load_model(two_phases.path / "model.keras", compile=False)
        best = arrays(two_phases.path / "checkpoints" / "best.npz")
        assert len(model.weights) == len(best)
        assert all(np.array_equal(w, best[f"{i:05d}"]) for i, w in enumerate(w.numpy() for w in model.weights))

    def test_environment(self, two_phases):
        told = json.loads((two_phases.path / "environment.json").read_text())
        assert told["packages"]["tensorflow"] == tf.__version__ and told["seed"] == 0 and told["processors"] >= 1
        assert told["variables"].get("TF_ENABLE_ONEDNN_OPTS") == os.environ.get("TF_ENABLE_ONEDNN_OPTS")

    def test_only_what_should_has_changed(self, two_phases, tiny):
        """The first layer and BatchNorm are as they were; the unfrozen layer and the head are not."""
        keras.utils.set_random_seed(0)
        before = {w.path: w.numpy() for w in tiny.build_classifier(input_size=(16, 16), classes=2).weights}
        after = {w.path: w.numpy() for w in two_phases.load_model().weights}
        assert before.keys() == after.keys()
        changed = {path for path in before if not np.array_equal(before[path], after[path])}
        assert changed == {"conv2/kernel", "conv2/bias", "probabilities/kernel", "probabilities/bias"}


class TestRefused:
    """Nothing is written, and nothing that is there is touched."""

    def test_run_that_exists(self, two_phases, values):
        def state():
            files = (p for p in two_phases.path.rglob("*") if p.is_file() and p.name != ".lock")
            return sorted((p, p.stat().st_mtime_ns) for p in files)

        before = state()
        with pytest.raises(KerasOrthoError, match="exists already, and its training has ended"):
            fit(config_from_dict(values), runs=two_phases.path.parent, name="two")
        values["training"]["monitor"] = "val_los"
        with pytest.raises(KerasOrthoError, match='Did you mean "val_loss"'):  # what else is wrong comes first
            fit(config_from_dict(values), runs=two_phases.path.parent, name="two")
        assert state() == before

    def test_folder_that_somebody_else_uses(self, values, tmp_path):
        (tmp_path / "tiny").mkdir()
        (tmp_path / "tiny" / "thesis.docx").write_text("years of work")
        with pytest.raises(KerasOrthoError, match=r"exists already\. Remove it, or choose another --name"):
            fit(config_from_dict(values), runs=tmp_path)
        assert (tmp_path / "tiny" / "thesis.docx").read_text() == "years of work"

    @pytest.mark.skipif(os.name == "nt", reason="no locks there")
    def test_run_that_another_process_trains(self, values, tmp_path):
        with locked(tmp_path / "tiny" / ".lock"), pytest.raises(KerasOrthoError) as caught:
            fit(config_from_dict(values), runs=tmp_path)
        assert f"Another process is training in {tmp_path / 'tiny'}" in str(caught.value)
        assert os.listdir(tmp_path / "tiny") == [".lock"]

    @pytest.mark.skipif(os.name == "nt", reason="no locks there")
    def test_resuming_a_run_that_another_process_trains(self, two_phases):
        with locked(two_phases.path / ".lock"), pytest.raises(KerasOrthoError, match="Another process is training"):
            resume(two_phases.path)

    @pytest.mark.parametrize("name", ["../x", "a/b", "..", "con:1"])
    def test_name(self, values, tmp_path, name):
        with pytest.raises(KerasOrthoError, match='"name" must be'):
            fit(config_from_dict(values), runs=tmp_path / "runs", name=name)
        assert os.listdir(tmp_path) == []


def test_in_a_thread(values, tmp_path):
    """Signals are the main thread's business, as in a notebook server."""
    runs = []
    thread = threading.Thread(target=lambda: runs.append(fit(config_from_dict(values), runs=tmp_path)))
    thread.start()
    thread.join()
    assert runs[0].complete


def test_stopped_from_python(values, tmp_path, monkeypatch):
    batches = Trainer._batches

    def stop(self, start):
        self.stop_asked = self.progression.epoch == 1
        return batches(self, start)

    monkeypatch.setattr(Trainer, "_batches", stop)
    with pytest.raises(Interrupted, match=r"Stopped in epoch 2 of 2, after batch 1 of 2; everything is saved"):
        fit(config_from_dict(values), runs=tmp_path)
    monkeypatch.undo()
    assert resume(tmp_path / "tiny").complete


def test_resuming_what_has_ended_does_nothing(two_phases, capsys):
    before = (two_phases.path / "model.keras").stat().st_mtime_ns
    assert resume(two_phases.path).complete
    assert "has ended already; there is nothing to resume" in capsys.readouterr().err
    assert (two_phases.path / "model.keras").stat().st_mtime_ns == before


def test_metrics_of_an_epoch_are_of_all_its_batches(values, tmp_path, monkeypatch):
    losses = []
    make_step = Trainer._make_step

    def recorded(self):
        step = make_step(self)

        def one(image, target):
            losses.append(float(self.model.compute_loss(y=target, y_pred=self.model(image, training=False))))
            return step(image, target)

        return one

    monkeypatch.setattr(Trainer, "_make_step", recorded)
    run = fit(config_from_dict(values), ["training.learning_rate=1e-9", "training.epochs=1"], runs=tmp_path)
    assert len(losses) == 2 and abs(losses[0] - losses[1]) > 1e-3
    assert run.history()[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_time_left_is_by_the_last_epochs_of_this_process(capsys):
    trainer = object.__new__(Trainer)
    trainer.recent = deque(maxlen=5)
    trainer.config = SimpleNamespace(epochs=60)
    trainer.progression = SimpleNamespace(epoch=20, seconds=20 * 3600)  # hours an epoch, on a busy machine
    for seconds in (400, 10, 11, 9, 10, 10):  # the first builds the graph
        trainer._report({"loss": 0.5}, False, seconds)
    assert capsys.readouterr().err.splitlines()[-1].endswith("loss 0.5000  10 s, 6 min 40 s left")
