"""The run directory: written whole, opened strictly, refused in words."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import yaml

from kerasortho import __version__
from kerasortho.config import config_from_dict
from kerasortho.data.samples import load_samples
from kerasortho.errors import KerasOrthoError
from kerasortho.training.run import RunDirectory, require_new
from kerasortho.training.runtime import _variables, changed_software, package_versions


@pytest.fixture
def run(tiny, dataset, tmp_path):
    """A run directory as it is when training begins."""
    config = config_from_dict(tiny.settings(dataset))
    samples = load_samples(config.data, config.task)
    path = tmp_path / "runs" / "tiny"
    return RunDirectory.create(path, config, samples, plan={"seconds": 3}, environment={"seed": 0})


def test_what_is_written(run, tiny, dataset):
    again = RunDirectory(run.path)
    assert again.config == config_from_dict(tiny.settings(dataset))
    assert again.config == config_from_dict(yaml.safe_load((run.path / "config.yaml").read_text()))
    assert again.classes == ("lying", "upright")
    assert again.samples().samples == run.samples().samples
    assert json.loads((run.path / "plan.json").read_text()) == {"seconds": 3}
    assert json.loads((run.path / "environment.json").read_text()) == {"seed": 0}
    rows = list(csv.DictReader((run.path / "split.csv").open()))
    assert len(rows) == 30 and rows[0] == {"image": "00.png", "group": "train0", "split": "train", "label": "upright"}
    assert not again.complete and again.history() == [] and again.metrics() == {}
    written = {"config.yaml", "plan.json", "environment.json", "split.csv", "data.json"}
    assert {p.name for p in run.path.iterdir()} == written


def test_history_and_metrics(run):
    rows = [{"epoch": 1.0, "loss": 0.125}, {"epoch": 2.0, "loss": 1e-7, "val_dice": 0.1 + 0.2}]
    run.write_history(rows)
    assert run.history() == rows  # to the last bit
    run.write_metrics("val", {"dice": 0.5})
    run.write_metrics("test", {"dice": 0.25})
    run.write_metrics("val", {"dice": 0.75})
    assert RunDirectory(run.path).metrics() == {"val": {"dice": 0.75}, "test": {"dice": 0.25}}


def test_usable_from_another_folder(run, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.move(run.path, tmp_path / "elsewhere" / "moved")
    assert len(RunDirectory("moved").samples().samples) == 30


def test_changed_software_is_told():
    now = {"kerasortho": __version__, "packages": package_versions(), "variables": _variables()}
    assert changed_software(now) == []
    before = {**now, "packages": {**now["packages"], "keras": "3.0"}, "variables": {"TF_ENABLE_ONEDNN_OPTS": "7"}}
    told = changed_software(before)
    assert told[0] == f"keras 3.0 -> {now['packages']['keras']}"
    assert told[1].startswith("TF_ENABLE_ONEDNN_OPTS 7 -> ") and len(told) == 2


class TestRefused:
    """One paragraph that names the file and the fix."""

    def refuse(self, path, *words):
        with pytest.raises(KerasOrthoError) as caught:
            RunDirectory(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        assert all(word in str(caught.value) for word in words), str(caught.value)

    def test_a_second_time(self, run):
        before = {p: p.read_bytes() for p in run.path.iterdir()}
        with pytest.raises(KerasOrthoError, match=r"exists already\. Continue it with `kerasortho fit --resume"):
            RunDirectory.create(run.path, run.config, run.samples())
        assert {p: p.read_bytes() for p in run.path.iterdir()} == before

    def test_a_second_time_when_it_has_ended(self, run):
        (run.path / "model.keras").touch()
        with pytest.raises(KerasOrthoError, match=r"has ended.*`kerasortho evaluate .*another --name") as caught:
            require_new(run.path)
        assert "--resume" not in str(caught.value)

    def test_a_folder_with_something_else(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(KerasOrthoError, match=r"exists already\. Remove it, or choose another --name"):
            require_new(tmp_path)

    def test_only_a_lock_or_nothing_is_new(self, tmp_path):
        require_new(tmp_path / "none")
        require_new(tmp_path)
        (tmp_path / ".lock").touch()
        require_new(tmp_path)

    def test_not_there(self, run):
        self.refuse(run.path.with_name("tinny"), "There is no run directory", 'Did you mean "tiny"?')
        self.refuse(run.path / "a" / "b", "There is no run directory")

    def test_not_a_run(self, tmp_path):
        self.refuse(tmp_path, "is not a run directory: it has no data.json")

    def test_another_format(self, run):
        data = json.loads((run.path / "data.json").read_text())
        (run.path / "data.json").write_text(json.dumps({**data, "format": 7}))
        self.refuse(run.path, "run-directory format 7", "reads format 1", "environment.json")

    @pytest.mark.parametrize("content", ["", "{", "[1]", '"text"'])
    def test_damaged_data(self, run, content):
        (run.path / "data.json").write_text(content)
        self.refuse(run.path, "data.json")

    @pytest.mark.parametrize("content", ["name: [", "", "name: 3", "nmae: a"])
    def test_damaged_configuration(self, run, content):
        (run.path / "config.yaml").write_text(content)
        with pytest.raises(KerasOrthoError, match=r"config\.yaml"):
            _ = RunDirectory(run.path).config

    def test_changed_manifest(self, tiny, tmp_path):
        manifest = tiny.make_dataset(tmp_path / "data", train=4, val=4)
        config = config_from_dict(tiny.settings(manifest))
        run = RunDirectory.create(tmp_path / "run", config, load_samples(config.data, config.task))
        lines = manifest.read_text().splitlines()
        manifest.write_text("\r\n".join(lines) + "\r\n")  # the same cells
        assert len(RunDirectory(run.path).samples().samples) == 8
        manifest.write_text("\n".join([f"{lines[0]},remark", *(f"{line},x" for line in lines[1:])]))  # what is not used
        assert len(RunDirectory(run.path).samples().samples) == 8
        manifest.write_text("\n".join(lines[:1] + lines[2:]))
        with pytest.raises(KerasOrthoError, match=r"has changed since .*run was trained.*--manifest other\.csv"):
            RunDirectory(run.path).samples()
        manifest.unlink()
        with pytest.raises(KerasOrthoError, match=r"is gone, that .*run was trained with.*--manifest other\.csv"):
            RunDirectory(run.path).samples()

    def test_no_model_yet(self, run):
        with pytest.raises(KerasOrthoError, match=r"has no model\.keras yet.*--resume"):
            run.load_model()

    def test_damaged_model(self, run):
        pytest.importorskip("keras")
        (run.path / "model.keras").write_bytes(b"not a model")
        with pytest.raises(KerasOrthoError, match=r"model\.keras cannot be loaded"):
            run.load_model()
