"""Resume is exact: killed anywhere, a deterministic training ends with the same bits as one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows kills in other ways")
BATCHES = 6  # an epoch of the recipe; the last of them is smaller


@pytest.fixture
def same(arrays):
    """Assert that a run ended exactly like the reference."""

    def compare(run: Path, reference: Path) -> None:
        assert (run / "history.csv").read_text() == (reference / "history.csv").read_text()
        ours, theirs = (json.loads((r / "training.json").read_text()) for r in (run, reference))
        for key in ("best", "best_epoch", "epochs"):
            assert ours[key] == theirs[key], key
        for name in ("best.npz", "last.npz"):  # weights; optimizer, dropout generators, running metrics
            a, b = arrays(run / "checkpoints" / name), arrays(reference / "checkpoints" / name)
            progress = [json.loads(bytes(x.pop("progression", np.frombuffer(b"{}", np.uint8)))) for x in (a, b)]
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[key], b[key]) for key in a), name
            for key in ("epoch", "phase", "phase_epoch", "batch", "best", "best_epoch", "waited", "history"):
                assert progress[0].get(key) == progress[1].get(key), key
        left = [p.name for p in run.rglob(".*") if p.name != ".lock"]
        assert left == []

    return compare


@pytest.fixture(scope="module")
def segmentation(tiny, write_config, tmp_path_factory):
    """A configuration of what segmentation has besides: weights of pixels, chosen images, a BatchNorm that learns.

    A third of the training images is without foreground; the others have two objects, with a border in between. The
    large pos_weight is too much for mixed_float16 in its first steps: the scale of the loss must be remembered, too.
    """
    folder = tmp_path_factory.mktemp("segmentation")
    manifest = tiny.make_dataset(folder)
    for i, file in enumerate(sorted(folder.glob("mask-*.png"))[:22]):
        mask = np.zeros((36, 30), np.uint8)
        if i % 3:
            mask[8:24, 4 : 8 + i // 3] = mask[6:20, 18:26] = 255
        assert cv2.imwrite(str(file), mask)
    training = {"foreground_fraction": 0.8, "border_weight": 5.0, "loss_options": {"pos_weight": 100.0}}
    values = tiny.settings(manifest, "segmentation", batch_size=6, **training)  # three batches of the same size
    values["model"] = {"name": "unet", "options": {"base_filters": 2, "depth": 1, "dropout": 0.3}}
    return write_config(folder / "segmentation.yaml", values)


def test_reference_is_worth_comparing_with(reference, arrays):
    """It stops its first phase early, uses dropout, and a second phase that starts from another epoch than the last."""
    rows = [line.split(",") for line in (reference / "history.csv").read_text().splitlines()]
    phases = [float(row[rows[0].index("phase")]) for row in rows[1:]]
    losses = [float(row[rows[0].index("val_loss")]) for row in rows[1:]]
    first = phases.count(1.0)
    assert first < 9 and phases.count(2.0) == 3
    assert np.argmin(losses[:first]) == first - 3  # patience 2
    state = arrays(reference / "checkpoints" / "last.npz")
    generators = [a for a in state.values() if a.dtype.kind in "iu" and a.shape == (2,)]
    assert len(generators) == 1 and generators[0][1] >= len(phases) * BATCHES  # dropout's, and it has moved


def test_killed_at_every_kind_of_moment(command, recipe, reference, same, tmp_path):
    assert (reference / "history.csv").read_text().count("\n4.0,1.0,") == 1  # the first phase has four epochs
    assert (reference / "history.csv").read_text().count("\n5.0,2.0,") == 1
    weights = tmp_path / "pretrained.h5"
    weights.touch()
    moments = [
        ("data.json", 1, "after"),  # a run without a checkpoint
        ("last.npz", 3, "before"),  # in an epoch, while a checkpoint is being written
        ("best.npz", 1, "after"),  # all batches of an epoch done; best weights written, the epoch not ended
        ("history.csv", 1, "before"),  # the epoch ended, its row not written
        ("last.npz", 2 * (BATCHES + 1) + 2, "after"),  # in the fourth epoch, one epoch without improvement
        ("last.npz", (BATCHES - 2) + 1 + 1, "before"),  # between the phases
        ("model.keras", 1, "before"),  # all done but this
    ]
    start = ["fit", recipe, "--runs", tmp_path, "--deterministic", "--set", "training.checkpoint_minutes=0"]
    start += ["--set", f"model.options.weights={weights}"]
    run = tmp_path / "tiny"
    for number, moment in enumerate(moments):
        child = command(*(start if number == 0 else ["fit", "--resume", run]), fault=moment)
        assert child.wait() == -signal.SIGKILL, (moment, child.output)
        if number == 1:
            weights.unlink()  # once there is a checkpoint, the pretrained weights are not needed any more
    child = command("fit", "--resume", run)
    assert child.wait() == 0, child.output
    same(run, reference)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_segmentation_killed_in_its_second_epoch(command, segmentation, same, arrays, precision, tmp_path):
    start = ["fit", segmentation, "--deterministic", "--set", f"training.mixed_precision={precision}", "--runs"]
    child = command(*start, tmp_path / "reference")
    assert child.wait() == 0, child.output
    run, reference = tmp_path / "runs" / "tiny", tmp_path / "reference" / "tiny"
    state = arrays(reference / "checkpoints" / "last.npz")
    scales = [float(a) for a in state.values() if a.shape == () and a > 2**7]
    assert not scales if precision == "float32" else len(scales) == 1 and scales[0] < 2**15  # where Keras begins
    child = command(*start, tmp_path / "runs", "--set", "training.checkpoint_minutes=0", fault=("last.npz", 6, "after"))
    assert child.wait() == -signal.SIGKILL, child.output
    child = command("fit", "--resume", run)
    assert child.wait() == 0 and "1 of 2 epochs are done" in child.output, child.output
    same(run, reference)


def test_stopped_by_signals_and_killed_at_random(command, recipe, reference, same, tmp_path):
    run = tmp_path / "tiny"
    last = run / "checkpoints" / "last.npz"
    child = command("fit", recipe, "--runs", tmp_path, "--deterministic", "--set", "training.checkpoint_minutes=0")
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        before = last.stat().st_mtime_ns if last.is_file() else 0
        while not last.is_file() or last.stat().st_mtime_ns == before:  # until it has trained a batch
            assert child.process.is_alive(), child.output
            time.sleep(0.005)
        if number == signal.SIGKILL and before == 0:
            second = command("fit", recipe, "--runs", tmp_path)
            assert second.wait() == 2
            assert f"Another process is training in {run}" in second.output or not child.process.is_alive()
        time.sleep(random.random() * 0.2)
        os.kill(child.process.pid, number)
        code = child.wait()
        if code == 0:  # it was quicker
            break
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 130, child.output
            assert f"Go on with: kerasortho fit --resume {run}" in child.output
            assert "Traceback" not in child.output and "Error" not in child.output
        child = command("fit", "--resume", run)
    assert child.wait() == 0, child.output
    same(run, reference)


def test_resumed_model_is_built_alike_without_its_weights_file(tiny, dataset, tmp_path):
    """What the file decided, which BatchNorm learns, is in the configuration of the run."""
    keras = pytest.importorskip("keras")
    from kerasortho.config import config_from_dict
    from kerasortho.models import count_parameters, get_base
    from kerasortho.training.fit import _build, _check, _settled

    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in network.layers[:-20]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(layer.moving_variance * 2)
    network.save_weights(tmp_path / "incomplete.weights.h5")
    values = tiny.settings(dataset, phases=[{"epochs": 1, "unfreeze_from": "all"}])
    values["model"] = {"name": "mobilenetv2", "options": {"weights": str(tmp_path / "incomplete.weights.h5")}}
    values["preprocessing"] = {"size": [32, 32]}
    samples, model = _check(config_from_dict(values))
    config = _settled(config_from_dict(values), model)
    assert config.model.options["learn_batchnorm_from"] == get_base(model).learn_batchnorm_from == "block_15_expand_BN"
    again = _build(config_from_dict(config.to_dict()), samples, pretrained=False)
    assert [w.path for w in again.trainable_weights] == [w.path for w in model.trainable_weights]
    calls = [{layer["name"]: layer["inbound_nodes"] for layer in m.get_config()["layers"]} for m in (model, again)]
    assert calls[0]["backbone"][0]["kwargs"].get("training") is None
    assert calls[0]["backbone"][0]["kwargs"] == calls[1]["backbone"][0]["kwargs"]
    unsettled = _build(config_from_dict(values), samples, pretrained=False)
    assert count_parameters(again).trained < count_parameters(unsettled).trained
