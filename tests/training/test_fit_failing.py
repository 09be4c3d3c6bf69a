"""Trainings that fail, at their start or later: what is said, and what is left behind."""

from __future__ import annotations

import os

import pytest

from kerasortho.config import config_from_dict
from kerasortho.errors import KerasOrthoError

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from kerasortho.training.fit import fit, resume  # noqa: E402
from kerasortho.training.loop import Trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def values(tiny, dataset):
    """A configuration of two epochs of two batches, as plain data."""
    return tiny.settings(dataset, batch_size=11)


def out_of_memory(*args):
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[11,16]\nand so on")


def really_out_of_memory(*args):
    """As TensorFlow raises it from compiled code: the reason stands many lines deep."""
    huge = tf.function(lambda n: tf.reduce_sum(tf.fill([n, n, n], 1.0)))
    huge(tf.constant(100_000))


def no_space_for_logs(*args):
    raise tf.errors.ResourceExhaustedError(None, None, "{{node}} logs/events.v2; No space left on device\nand so on")


def fail_at(monkeypatch, epoch, error):
    """Let the step after ``epoch`` ended epochs raise ``error``."""
    batches = Trainer._batches

    def failing(self, start):
        if self.progression.epoch == epoch:
            self.step = error
        return batches(self, start)

    monkeypatch.setattr(Trainer, "_batches", failing)


class TestFailedStart:
    """A training that fails before its first checkpoint leaves nothing behind, so that it can be started again."""

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("training.monitor=val_los", ['no "val_los"', 'Did you mean "val_loss"?']),
            ("training.monitor=val_dice_loss", ["There are: val_loss, val_accuracy, loss, accuracy"]),
            ("training.unfreeze_from=conv9", ['"conv9"', "conv2"]),
            ("model.name=tiny_clasifier", ['Did you mean "tiny_classifier"?']),
            ("model.name=unet", ["unet is a segmentation model, the task is classification"]),
            ("model.options.droput=0.5", ['no option "droput"', 'Did you mean "dropout"?']),
            ("model.options.weights=nowhere.h5", ["no weights file nowhere.h5"]),
            ("data.manifest=nowhere.csv", ["data.manifest: there is no file nowhere.csv", "current folder"]),
            ("data.label=limb", ['no column "limb"']),
        ],
    )
    def test_wrong_configuration(self, values, tmp_path, setting, words):
        with pytest.raises(KerasOrthoError) as caught:
            fit(config_from_dict(values), [setting], runs=tmp_path)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("training.loss=dise", ['no segmentation loss "dise"', 'Did you mean "dice"?']),
            ("training.loss_options={gama: 2}", ['has no option "gama"']),
            ("training.loss_options={pos_weight: lots}", ["pos_weight", "'lots'"]),
            ("training.unfreeze_from=all", ["no pretrained backbone"]),
        ],
    )
    def test_wrong_configuration_of_segmentation(self, tiny, dataset, tmp_path, setting, words):
        with pytest.raises(KerasOrthoError) as caught:
            fit(config_from_dict(tiny.settings(dataset, "segmentation")), [setting], runs=tmp_path)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("cache", ["memory", "disk"])
    def test_unreadable_image(self, tiny, tmp_path, cache):
        manifest = tiny.make_dataset(tmp_path / "data", train=6, val=4)
        (tmp_path / "data" / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        config = config_from_dict(tiny.settings(manifest))
        with pytest.raises(KerasOrthoError, match=r"03\.png"):
            fit(config, [f"data.cache={cache}", f"data.cache_dir={tmp_path / 'cache'}"], runs=tmp_path / "runs")
        assert os.listdir(tmp_path / "runs") == []

    def test_no_room_for_the_checkpoints(self, values, tmp_path, monkeypatch):
        monkeypatch.setattr("kerasortho.training.plan._disk", lambda model: 10**18)
        with pytest.raises(KerasOrthoError, match="checkpoints of this run need 1,000,000,000,000 MB"):
            fit(config_from_dict(values), runs=tmp_path)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("error", [out_of_memory, really_out_of_memory])
    def test_out_of_memory_in_the_first_batch(self, values, tmp_path, monkeypatch, error):
        fail_at(monkeypatch, 0, error)
        with pytest.raises(KerasOrthoError) as caught:
            fit(config_from_dict(values), runs=tmp_path)
        assert "OOM when allocating" in str(caught.value) and "\n" not in str(caught.value)
        assert "training.batch_size (now 11)" in str(caught.value)
        assert os.listdir(tmp_path) == []

    def test_no_number_in_the_first_epoch(self, values, tmp_path):
        values["training"] |= {"phases": [{"epochs": 1, "learning_rate": 1e38, "warmup_epochs": 0}], "clip_norm": None}
        values["training"]["label_smoothing"] = 0.1
        with pytest.raises(KerasOrthoError) as caught:
            fit(config_from_dict(values), runs=tmp_path)
        told = str(caught.value)
        assert "no longer a finite number (epoch 1, batch" in told
        assert "Lower the learning rate (now 1e+38), set training.clip_norm (now None)" in told
        assert "best weights" not in told  # there are none
        assert os.listdir(tmp_path) == []


class TestFailedLater:
    """A training that fails after its first checkpoint keeps what it has, and can be resumed."""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (out_of_memory, ["The memory of the device is too small"]),
            (no_space_for_logs, ["No space left on the disk while writing", "tiny"]),
            (lambda *batch: {"loss": float("nan")}, ["no longer a finite number (epoch 2, batch 1)", "best.npz"]),
        ],
        ids=["memory", "disk", "nan"],
    )
    def test_and_goes_on(self, values, tmp_path, monkeypatch, error, words):
        fail_at(monkeypatch, 1, error)
        with pytest.raises(KerasOrthoError) as caught:
            fit(config_from_dict(values), runs=tmp_path)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert "\n" not in str(caught.value) and "{{" not in str(caught.value)
        monkeypatch.undo()
        run = resume(tmp_path / "tiny")
        assert run.complete and len(run.history()) == 2

    def test_image_that_vanishes_meanwhile(self, tiny, tmp_path, monkeypatch):
        manifest = tiny.make_dataset(tmp_path / "data", train=6, val=4)
        image = tmp_path / "data" / "03.png"
        content = image.read_bytes()
        batches = Trainer._batches

        def vanish(self, start):
            if self.progression.epoch == 1:
                image.write_bytes(content[:100])
            return batches(self, start)

        monkeypatch.setattr(Trainer, "_batches", vanish)
        with pytest.raises(KerasOrthoError, match=r"03\.png") as caught:
            fit(config_from_dict(tiny.settings(manifest)), ["data.cache=none"], runs=tmp_path)
        assert "\n" not in str(caught.value)
        monkeypatch.undo()
        image.write_bytes(content)
        assert resume(tmp_path / "tiny").complete

    def test_validation_without_a_number(self, values, tmp_path, monkeypatch):
        evaluate = keras.Model.evaluate
        monkeypatch.setattr(keras.Model, "evaluate", lambda *a, **k: {**evaluate(*a, **k), "loss": float("nan")})
        with pytest.raises(KerasOrthoError, match=r"The val_loss is no longer a finite number \(epoch 1, batch 2\)"):
            fit(config_from_dict(values), runs=tmp_path)

    def test_missing_best_weights(self, values, tmp_path):
        run = fit(config_from_dict(values), runs=tmp_path)
        (run.path / "model.keras").unlink()
        (run.path / "checkpoints" / "best.npz").unlink()
        with pytest.raises(KerasOrthoError, match=r"best\.npz is missing"):
            resume(run.path)

    def test_damaged_checkpoint(self, values, tmp_path):
        run = fit(config_from_dict(values), runs=tmp_path)
        (run.path / "model.keras").unlink()
        last = run.path / "checkpoints" / "last.npz"
        last.write_bytes(last.read_bytes()[:-500])
        with pytest.raises(KerasOrthoError, match=r"last\.npz is damaged"):
            resume(run.path)
