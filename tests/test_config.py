"""The configuration: strict, complete, the same after a round trip through YAML, changeable with --set."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kerasortho import config as config_module
from kerasortho.config import Config, apply_settings, config_from_dict, load_config
from kerasortho.errors import KerasOrthoError

RECIPES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
BASE: dict[str, Any] = {
    "name": "bones",
    "task": "segmentation",
    "data": {"manifest": "m.csv"},
    "model": {"name": "unet", "options": {"filters": [64, 32], "prior": None, "dropout": 0.1}},
    "training": {"phases": [{"epochs": 2}], "loss_options": {"pos_weight": "auto"}},
}


def changed(*settings: str, base: dict[str, Any] = BASE) -> Config:
    return config_from_dict(apply_settings(base, settings))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_is_named_like_its_file(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


def test_there_are_recipes():
    assert {"bone-unet", "limb-resnet50", "limb-mobilenetv2", "fracture-unet"} <= {path.stem for path in RECIPES}


def test_round_trip_through_yaml_is_equal():
    config = changed(
        "data.where={side: [left, right]}",
        "data.classes=[a, b]",
        "augmentation.scale=[0.5, 2]",
        "preprocessing.size=[64, 32]",
        "training.phases=[{epochs: 3, learning_rate: 1e-5}, {epochs: 1, unfreeze_from: all}]",
        "training.foreground_fraction=0.25",
    )
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    again = config_from_dict(yaml.safe_load(text))
    assert again == config
    assert config.to_dict() == again.to_dict()
    assert config.data.where == {"side": ("left", "right")} and config.preprocessing.size == (64, 32)
    assert config.training.phases[0].learning_rate == 1e-5  # YAML 1.1 takes 1e-5 for text
    assert "!!python" not in text


def test_tuples_from_python_are_the_same_configuration():
    values = copy.deepcopy(BASE)
    values["model"]["options"]["filters"] = (64, 32)
    assert config_from_dict(values) == config_from_dict(BASE)


def test_every_key_is_explained_where_it_is_defined():
    for name in ("DataConfig", "ModelConfig", "Phase", "TrainingConfig", "EvaluationConfig", "Config"):
        cls = getattr(config_module, name)
        source = inspect.getsource(cls)
        for field in dataclasses.fields(cls):
            line = re.search(rf"^    {field.name}: (\w+).*$", source, re.MULTILINE)
            assert line is not None
            section = hasattr(config_module, line[1]) and dataclasses.is_dataclass(getattr(config_module, line[1]))
            assert section or "# " in line[0], f"{name}.{field.name} has no comment"


@pytest.mark.parametrize(
    ("setting", "reach"),
    [
        ("training.batch_size=3", lambda c: c.training.batch_size == 3),
        ("training.epochs=7", lambda c: c.training.phases[0].epochs == 7),
        ("training.learning_rate=1e-4", lambda c: c.training.phases[0].learning_rate == 1e-4),
        ("training.unfreeze_from=all", lambda c: c.training.phases[0].unfreeze_from == "all"),
        ("training.phases.0.epochs=7", lambda c: c.training.phases[0].epochs == 7),
        (" training.seed = 5", lambda c: c.training.seed == 5),
        ("training.patience=null", lambda c: c.training.patience is None),
        ("training.deterministic=true", lambda c: c.training.deterministic),
        ("model.options.depth=2", lambda c: c.model.options["depth"] == 2),
        ("data.manifest=a=b.csv", lambda c: c.data.manifest == "a=b.csv"),
        ("data.where.side=[left]", lambda c: c.data.where == {"side": ("left",)}),
        ("data.where={side: [left]}", lambda c: c.data.where == {"side": ("left",)}),
        ("preprocessing.size=[64, 48]", lambda c: c.preprocessing.size == (64, 48)),
        ("data.fold=1", lambda c: c.data.fold == 1),
    ],
)
def test_set_reaches_every_place(setting, reach):
    assert reach(changed(setting))
    assert BASE["training"]["phases"] == [{"epochs": 2}]  # the original stays


def test_later_settings_win():
    assert changed("training.seed=1", "training.seed=2").training.seed == 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nonsense", ["--set wants KEY=VALUE", "'nonsense'"]),
        ("=3", ["--set wants KEY=VALUE"]),
        ("training.batchsize=3", ['Unknown key "training.batchsize"', "Did you mean", 'batch_size"?']),
        ("trainig.batch_size=3", ['Unknown key "trainig"', 'Did you mean "training"?']),
        ("name.more=3", ["--set name.more: there is no such place"]),
        ("training.phases.9.epochs=3", ["--set training.phases.9.epochs: there is no such place"]),
        ("training.phases.first.epochs=3", ["no such place"]),
        ("training.batch_size=[", ["--set training.batch_size", "not a YAML value"]),
        ("training.batch_size=many", ['"training.batch_size" must be a whole number', "'many'"]),
        ("training.epochs=", ['"training.phases[0].epochs" must be a whole number', "None"]),
        ("training.phases=3", ['"training.phases" must be a list']),
        ("training.phases={epochs: 3}", ['"training.phases" must be a list', "For example: [{epochs: 10,"]),
        ("training.phases.3.epochs=1", ["there is no such place", "training.phases has 1 entry, counted from 0"]),
        ("data.classes=upper", ['"data.classes" must be a list', "For example: [lower, upper]"]),
        ("data.where.limb=upper", ['"data.where.limb" must be a list', "For example: {limb: [upper]}"]),
        ("data.where=upper", ['"data.where" must be a mapping', "For example: {limb: [upper]}"]),
        ("preprocessing.size=96", ['"preprocessing.size" must be a list', "For example: [height, width]"]),
        ("training.seed=" + "x" * 1000, ["Received: 'xxx", " ..."]),
    ],
)
def test_set_nonsense_is_refused(setting, words):
    with pytest.raises(KerasOrthoError) as caught:
        changed(setting)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_metric_of_the_other_task_is_told_before_its_mode():
    base = {**BASE, "task": "classification", "training": {"phases": [{"epochs": 2}]}}
    with pytest.raises(
        KerasOrthoError, match=r'there is no "val_dice" in classification\. There are: val_loss, val_acc'
    ):
        changed("training.monitor=val_dice", base=base)


def test_set_asks_which_phase_is_meant():
    with pytest.raises(KerasOrthoError, match=r"has 2 phases: say which one, such as training\.phases\.0\.epochs="):
        changed("training.phases=[{epochs: 1}, {epochs: 2}]", "training.epochs=3")


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("name=a/b", "name"),
        ("name=..", "name"),
        ("name=''", "name"),
        ("name='a '", "name"),
        ("training.batch_size=0", "training.batch_size"),
        ("training.phases=[]", "training.phases"),
        ("training.epochs=0", "training.phases[].epochs"),
        ("training.learning_rate=0", "training.phases[].learning_rate"),
        ("training.learning_rate=.nan", "training.phases[].learning_rate"),
        ("training.warmup_epochs=-1", "training.phases[].warmup_epochs"),
        ("training.final_fraction=2", "training.phases[].final_fraction"),
        ("training.border_weight=-1", "training.border_weight"),
        ("training.border_sigma=0", "training.border_sigma"),
        ("training.foreground_fraction=0", "training.foreground_fraction"),
        ("training.weight_decay=-1", "training.weight_decay"),
        ("training.clip_norm=0", "training.clip_norm"),
        ("training.mode=max", "training.mode"),
        ("training.monitor=val_dice", "training.mode"),
        ("training.patience=0", "training.patience"),
        ("training.seed=-1", "training.seed"),
        ("training.checkpoint_minutes=-1", "training.checkpoint_minutes"),
        ("data.fold=-1", "data.fold"),
        ("data.workers=-1", "data.workers"),
        ("evaluation.threshold=1", "evaluation.threshold"),
        ("evaluation.bootstrap=0", "evaluation.bootstrap"),
        ("preprocessing.size=[0, 5]", "preprocessing.size"),
        ("preprocessing.low=99.9", "preprocessing.low"),
        ("augmentation.rotation=500", "augmentation.rotation"),
        ("augmentation.scale=[2, 1]", "augmentation.scale"),
        ("training.class_weights=auto", "training.class_weights"),
        ("training.label_smoothing=0.1", "training.label_smoothing"),
    ],
)
def test_values_out_of_range_are_refused_by_name(setting, key):
    with pytest.raises(KerasOrthoError) as caught:
        changed(setting)
    assert key in str(caught.value)


@pytest.mark.parametrize("key", ["loss=dice", "loss_options={gamma: 2}", "border_weight=1", "foreground_fraction=0.5"])
def test_keys_of_segmentation_are_refused_in_classification(key):
    base = {**BASE, "task": "classification", "training": {"phases": [{"epochs": 2}]}}
    assert changed(base=base).task == "classification"
    with pytest.raises(KerasOrthoError, match="is for segmentation alone, not for classification"):
        changed(f"training.{key}", base=base)


class TestFile:
    """What can be wrong with the file itself: the message always names it."""

    def refuse(self, path: Path, *words: str, settings: tuple[str, ...] = ()) -> None:
        with pytest.raises(KerasOrthoError) as caught:
            load_config(path, settings)
        message = str(caught.value)
        assert str(path) in message and "\n" not in message and "unicode string" not in message
        assert all(word in message for word in words), message

    def test_missing(self, tmp_path):
        (tmp_path / "bone-unet.yaml").touch()
        self.refuse(tmp_path / "bone.yaml", "There is no configuration file", "In that folder: bone-unet.yaml")
        self.refuse(tmp_path / "nowhere" / "bone.yaml", "There is no configuration file")

    def test_a_folder(self, tmp_path):
        (tmp_path / "a.yaml").touch()
        self.refuse(tmp_path, "is a folder, not a configuration file", "In that folder: a.yaml")

    def test_a_manifest(self, tmp_path):
        (tmp_path / "fit.csv").write_text("image,label\n" + "a.png,hand\n" * 100)
        self.refuse(tmp_path / "fit.csv", "looks like a manifest", "--set data.manifest=")
        (tmp_path / "fit.txt").write_text("image,label\n" + "a.png,hand\n" * 100)
        with pytest.raises(KerasOrthoError) as caught:
            load_config(tmp_path / "fit.txt")
        assert len(str(caught.value)) < 180 + len(str(tmp_path))

    def test_the_setting_is_blamed_where_it_is_at_fault(self, tmp_path):
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump(BASE))
        for settings, blamed in [
            (["training.seed=1", "training.batchsize=3"], 'training.batchsize: Unknown key "training.batchsize"'),
            (["data.manfest=a.csv", "training.seed=1"], 'data.manfest: Unknown key "data.manfest"'),
            (["training.batch_size=0"], 'training.batch_size: "training.batch_size" must be at least 1'),
            (["training.seed=x", "training.mode=y"], 'training.seed: "training.seed" must be a whole number'),
        ]:
            with pytest.raises(KerasOrthoError) as caught:
                load_config(path, settings)
            assert str(caught.value).startswith(f"--set {blamed}")
        path.write_text(yaml.safe_dump({**BASE, "task": "other"}))
        self.refuse(path, '"task" must be one of', settings=("training.seed=1",))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"name: [", ["is not valid YAML", "line 1, column 8"]),
            (b"name: a\ntraining:\n\tseed: 1\n", ["is not valid YAML: line 3 is indented with a tab; use spaces"]),
            (b"name: \x07", ["is not valid YAML", "special characters"]),
            (b"\xff\xfe\x00", ["Cannot read the configuration file"]),
            (b"", ["must be a mapping"]),
            (b"- a\n- b\n", ["must be a mapping"]),
            (b"just text", ["must be a mapping"]),
            (b"name: a", ['Missing key "task"']),
            (b"name: a\nname: b\n", ["name", "twice"]),
            (b"!!python/object/apply:os.system ['true']", ["is not valid YAML"]),
        ],
    )
    def test_content(self, tmp_path, content, words):
        path = tmp_path / "a.yaml"
        path.write_bytes(content)
        self.refuse(path, *words)
        self.refuse(path, settings=("training.epochs=3",))

    def test_section_of_the_wrong_kind(self, tmp_path):
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump({**BASE, "training": 5}))
        self.refuse(path, '"training" must be a mapping', "5")
        self.refuse(path, settings=("training.epochs=3",))

    def test_settings_are_applied(self, tmp_path):
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump(BASE))
        assert load_config(path, ["training.epochs=3"]).epochs == 3
