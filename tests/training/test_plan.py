"""The plan: what it says is what will be done."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest

from kerasortho.config import apply_settings, config_from_dict
from kerasortho.data.samples import load_samples
from kerasortho.errors import KerasOrthoError

keras = pytest.importorskip("keras")
from kerasortho.training.plan import describe_plan, make_plan, require_disk  # noqa: E402

HEAD, CONV2 = 8 * 2 + 2, 3 * 3 * 8 * 8 + 8  # parameters


@pytest.fixture
def make(tiny, dataset):
    """Return the plan of a tiny training, and its model."""

    def plan_of(*settings, task="classification", place="memory"):
        values = tiny.settings(dataset, task, phases=[{"epochs": 2}, {"epochs": 3}])
        if task == "classification":
            values["training"]["phases"][1]["unfreeze_from"] = "conv2"
        config = config_from_dict(apply_settings(values, settings))
        samples = load_samples(config.data, config.task)
        build = tiny.build_classifier if task == "classification" else tiny.build_segmenter
        options = {"classes": 2} if task == "classification" else {}
        model = build(input_size=config.preprocessing.size, **options)
        return make_plan(config, samples, model, {"place": place, "bytes": 10**9}, steps=6), model

    return plan_of


def test_numbers(make):
    plan, model = make()
    assert plan["images"] == {"train": 22, "val": 8, "test": 0}
    assert plan["groups"] == {"train": 11, "val": 4, "test": 0}
    assert plan["grouped_by"] == ["group"]
    assert plan["classes"] == {name: {"train": 11, "val": 4, "test": 0} for name in ("lying", "upright")}
    assert [p["trained_parameters"] for p in plan["phases"]] == [HEAD, HEAD + CONV2]
    total = model.count_params()
    assert all(p["trained_parameters"] + p["frozen_parameters"] == total for p in plan["phases"])
    assert plan["seconds"] == sum(p["seconds"] for p in plan["phases"]) > 0
    assert plan["disk_bytes"] > 4 * 2 * total
    json.dumps(plan, allow_nan=False)


def test_images_in_memory_are_memory(make):
    assert make(place="memory")[0]["memory_bytes"] - make(place="disk")[0]["memory_bytes"] == 10**9


def test_larger_batches_need_more_memory(make):
    small, large = (make(f"training.batch_size={n}", place="disk")[0]["memory_bytes"] for n in (1, 1001))
    activations = 4 * 1000 * (16 * 16)  # the input alone
    assert large - small > activations


def test_table_for_people(make):
    plan, _ = make("data.where={label: [upright, lying]}")
    plan["left_out"] = {"excluded: broken": 3, "no label": 12}
    text = describe_plan(plan)
    for words in (
        "tiny: classification with tiny_classifier, input 16x16",
        "22 train (11 groups), 8 val (4 groups), 0 test (0 groups)",
        "groups       column group",
        "lying      11 train, 4 val, 0 test",
        "phase 1      2 epochs of 6 batches, learning rate 0.001; 18 parameters trained",
        "phase 2      3 epochs of 6 batches, learning rate 0.001, unfrozen from conv2; 602 parameters trained",
        "1,000 MB, kept: memory",
    ):
        assert words in text, text
    assert text.index("12: no label") < text.index("3: excluded: broken")  # the larger first


def test_balance_tells_the_visits(make):
    plan, _ = make("data.balance=group")
    assert plan["balance"] == {f"train{i}": {"images": 2, "visits": 2} for i in range(11)}
    assert "balance    visits an epoch, of images: train0 2 of 2, train1 2 of 2" in describe_plan(plan)
    assert make()[0]["balance"] == {} and "balance" not in describe_plan(make()[0])


def test_learning_batchnorm_is_told_where_a_phase_unfreezes(make):
    plan, _ = make()
    assert "batchnorm" not in describe_plan(plan)
    plan["learn_batchnorm_from"] = "conv5_block1_1_bn"
    assert "batchnorm    learns from conv5_block1_1_bn on, where it is unfrozen" in describe_plan(plan)
    for phase in plan["phases"]:
        phase["unfreeze_from"] = None
    assert "batchnorm" not in describe_plan(plan)


def test_groups_of_single_images_are_not_counted(make):
    plan, _ = make()
    text = describe_plan({**plan, "grouped_by": ["image"]})
    assert "22 train, 8 val, 0 test" in text and "groups       single images, patients unknown" in text


def test_segmentation_has_no_classes(make):
    plan, _ = make(task="segmentation")
    assert plan["classes"] == {}
    assert "tiny: segmentation" in describe_plan(plan)


def test_checkpoints_must_fit(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "free")
    monkeypatch.setattr("kerasortho.training.plan.shutil.disk_usage", lambda path: Usage(5_000_000))
    require_disk({"disk_bytes": 4_000_000}, tmp_path / "a" / "b")
    with pytest.raises(KerasOrthoError, match=r"need 6 MB, but .* has 5 MB free\. Free some space, or .*--runs"):
        require_disk({"disk_bytes": 6_000_000}, tmp_path / "a" / "b")
