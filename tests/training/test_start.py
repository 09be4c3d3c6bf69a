"""``model.start_from``: what a training takes over from another run, and what it refuses to."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from kerasortho.config import config_from_dict
from kerasortho.errors import KerasOrthoError

keras = pytest.importorskip("keras")
from kerasortho.models import build_model  # noqa: E402
from kerasortho.training.fit import fit  # noqa: E402
from kerasortho.training.run import RunDirectory  # noqa: E402
from kerasortho.training.start import describe_start, start_options, take_weights  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def first(tiny, dataset, tmp_path_factory):
    """A finished run of the segmenter, on phantoms as its source says."""
    tiny.register()
    values = tiny.settings(dataset, "segmentation", batch_size=11)
    values["data"] |= {"source": "phantoms of kerasortho", "licence": "none needed"}
    return fit(config_from_dict(values), runs=tmp_path_factory.mktemp("first"), name="first")


@pytest.fixture
def values(tiny, dataset, first):
    """A configuration that starts from it."""
    values = tiny.settings(dataset, "segmentation", batch_size=11)
    values["model"]["start_from"] = str(first.path)
    return values


def test_the_weights_are_those_of_the_run(values, first, tmp_path):
    still = ["training.learning_rate=1e-30", "training.epochs=1", "preprocessing.size=[32,32]"]
    run = fit(config_from_dict(values), still, runs=tmp_path)
    for own, other in zip(run.load_model().get_weights(), first.load_model().get_weights(), strict=True):
        assert np.allclose(own, other, atol=1e-12)
    fresh = build_model("tiny_segmenter", input_size=(32, 32))
    assert not np.allclose(fresh.get_weights()[0], first.load_model().get_weights()[0])


def test_the_run_and_its_card_tell_where_they_began(values, first, tmp_path):
    from kerasortho.export.card import make_card

    run = fit(config_from_dict(values), ["training.epochs=1"], runs=tmp_path)
    told = json.loads((run.path / "start.json").read_text())
    assert told == describe_start(first)
    assert (told["run"], told["data"], told["started_from"]) == ("first", "phantoms of kerasortho", None)
    assert told["images"]["train"] == 22
    assert str(first.path) not in json.dumps(told)
    card = make_card(run, name="second", version=1, max_pixels=1)
    assert card["training"]["started_from"] == told
    assert make_card(first, name="first", version=1, max_pixels=1)["training"]["started_from"] is None
    values["model"]["start_from"] = str(run.path)
    third = fit(config_from_dict(values), ["training.epochs=1"], runs=tmp_path, name="third")
    assert third.document("start")["started_from"]["run"] == "first"


def test_a_resumed_training_needs_the_first_run_no_more(values, first, tmp_path, command, write_config):
    copy = shutil.copytree(first.path, tmp_path / "copy")
    values["model"]["start_from"] = str(copy)
    values["training"]["phases"][0]["epochs"] = 3
    recipe = write_config(tmp_path / "second.yaml", values)
    child = command("fit", recipe, "--runs", tmp_path, fault=("last.npz", 2, "after"))
    assert child.wait() < 0
    shutil.rmtree(copy)
    child = command("fit", "--resume", tmp_path / "tiny")
    assert child.wait() == 0, child.output
    assert len(RunDirectory(tmp_path / "tiny").history()) == 3


def test_batchnorm_learns_as_in_the_first_run_unless_the_recipe_says_otherwise(first):
    options = {"weights": "imagenet", "learn_batchnorm_from": "auto", "dropout": 0.2}
    assert start_options(options, first) == {"weights": None, "learn_batchnorm_from": None, "dropout": 0.2}
    chosen = start_options({**options, "learn_batchnorm_from": "Conv1"}, first)
    assert chosen["learn_batchnorm_from"] == "Conv1"
    assert start_options({"dropout": 0.1}, first) == {"dropout": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "tiny_classifier"}, "is a tiny_segmenter, and model.name is tiny_classifier"),
        ({"start_from": "nowhere"}, '"model.start_from": There is no run directory nowhere'),
        ({"options": {"activation": "softmax"}}, "was built otherwise: its logits"),
    ],
)
def test_what_does_not_fit_is_refused(values, tmp_path, change, message):
    values["model"] |= change
    if change.get("name"):
        values["task"] = "classification"
    if "activation" in change.get("options", {}):
        values["training"]["loss"] = "softmax_ce"
    with pytest.raises(KerasOrthoError, match=message):
        fit(config_from_dict(values), runs=tmp_path)
    assert not (tmp_path / "tiny").exists()


def test_a_run_that_has_not_ended_is_refused(values, first, tmp_path):
    copy = shutil.copytree(first.path, tmp_path / "copy")
    (copy / "model.keras").unlink()
    values["model"]["start_from"] = str(copy)
    with pytest.raises(KerasOrthoError, match="has not ended"):
        fit(config_from_dict(values), runs=tmp_path)


def test_other_layers_are_told_apart(first):
    inputs = keras.Input((16, 16, 1), name="image")
    other = keras.Model(inputs, keras.layers.Conv2D(8, 3, name="another")(inputs))
    with pytest.raises(KerasOrthoError, match="its conv/kernel has shape"):
        take_weights(other, first)
