"""Mistakes as users make them, at the command line: one clear paragraph, exit code 2, nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from kerasortho.cli.main import main

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def data(tiny, tmp_path):
    """A dataset of its own, to be spoilt: its folder, its rows, and how to write them back."""
    path = tiny.make_dataset(tmp_path / "data", train=6, val=4)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return SimpleNamespace(path=path, folder=path.parent, rows=rows, save=lambda: tiny.write_rows(path, rows))


@pytest.fixture
def fit(tiny, data, tmp_path, capsys, monkeypatch):
    """Run ``kerasortho fit`` and return what it says on stderr after it has failed as it should."""
    monkeypatch.delenv("KERASORTHO_DEBUG", raising=False)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    config = tmp_path / "tiny.yaml"

    def run(*settings, task="classification", values=None, runs=None, leaves=()):
        config.write_text(yaml.safe_dump(values or tiny.settings(data.path, task)))
        runs = runs or tmp_path / "runs"
        arguments = [word for setting in settings for word in ("--set", setting)]
        assert main(["fit", str(config), "--runs", str(runs), *arguments]) == 2
        told = capsys.readouterr().err
        errors = [line for line in told.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1 and told.splitlines()[-1] == errors[0]  # one paragraph, and the last
        assert "Traceback" not in told
        assert tuple(os.listdir(runs) if runs.is_dir() else ()) == leaves
        return errors[0]

    return run


def says(message, *words):
    assert all(word in message for word in words), message


class TestConfiguration:
    """The file and --set."""

    def test_unknown_key(self, fit):
        says(fit("training.epoch=3"), 'Did you mean "training.epochs"?')
        says(fit("data.manfest=x"), "--set data.manfest", '"data.manfest"', 'Did you mean "manifest"?')

    def test_missing_key(self, fit, tiny, data):
        values = tiny.settings(data.path)
        del values["model"]
        says(fit(values=values), "tiny.yaml", 'Missing key "model"')

    def test_wrong_type(self, fit):
        says(fit("training.batch_size=lots"), '"training.batch_size" must be a whole number', "'lots'")

    def test_set_without_value(self, fit):
        says(fit("training.epochs"), "--set wants KEY=VALUE")

    def test_input_size_that_the_model_cannot_take(self, fit):
        says(fit("model.name=unet", "preprocessing.size=[30, 32]", task="segmentation"), "height", "16", "30", "32")

    def test_loss_that_the_models_output_does_not_fit(self, fit):
        says(fit("training.loss=softmax_ce", task="segmentation"), '"training.loss"', "model.options.activation")


class TestData:
    """The manifest and its files."""

    def test_missing_files(self, fit, data):
        (data.folder / "03.png").unlink()
        says(fit(), "manifest.csv", "column image", "03.png")

    def test_missing_mask(self, fit, data):
        (data.folder / "mask-03.png").unlink()
        says(fit(task="segmentation"), "manifest.csv", "column mask", "mask-03.png")

    def test_one_class(self, fit, data):
        for row in data.rows:
            row["label"] = "upright"
        data.save()
        says(fit(), "manifest.csv", "1 class (upright)", "at least two")

    def test_no_validation_images(self, fit, data):
        for row in data.rows:
            row["split"] = "train"
        data.save()
        says(fit(), "manifest.csv", "no image is left to validate on", "kerasortho data split")

    def test_leaking_groups(self, fit, data):
        data.rows[0]["group"] = data.rows[-1]["group"]
        data.save()
        says(fit(), "manifest.csv", "1 group crosses splits", data.rows[-1]["group"])

    def test_mask_of_another_size(self, fit, data):
        assert cv2.imwrite(str(data.folder / "mask-02.png"), np.zeros((10, 20), np.uint8))
        says(fit(task="segmentation"), "mask-02.png is 10x20 pixels", "02.png is 36x30", "kerasortho data check")

    def test_mask_with_grey_values(self, fit, data):
        mask = np.tile(np.arange(30, dtype=np.uint8), (36, 1))
        assert cv2.imwrite(str(data.folder / "mask-02.png"), mask)
        says(fit(task="segmentation"), "mask-02.png", "`kerasortho data check` on the manifest lists all")

    def test_cut_off_image(self, fit, data):
        content = (data.folder / "02.png").read_bytes()
        (data.folder / "02.png").write_bytes(content[: len(content) // 2])
        for cache in ("memory", "none"):
            says(fit(f"data.cache={cache}"), "02.png")

    def test_no_foreground_to_sample(self, fit, data):
        for i in range(6):
            assert cv2.imwrite(str(data.folder / f"mask-{i:02d}.png"), np.zeros((36, 30), np.uint8))
        says(fit("training.foreground_fraction=0.5", task="segmentation"), "no training image has any foreground")


class TestDisk:
    """Folders that cannot be written, disks that are full."""

    def test_runs_is_a_file(self, fit, tmp_path):
        (tmp_path / "file").touch()
        says(fit(runs=tmp_path / "file"), str(tmp_path / "file"), "a part of that path is a file")

    def test_no_permission(self, fit, tmp_path, monkeypatch):
        if os.name == "posix" and os.geteuid() != 0:
            tmp_path.joinpath("locked").mkdir(mode=0o500)
        else:  # root may write everywhere: pretend
            mkdir = Path.mkdir

            def refuse(self, *args, **kwargs):
                if "locked" in str(self):
                    raise PermissionError(13, "Permission denied", str(self))
                mkdir(self, *args, **kwargs)

            monkeypatch.setattr(Path, "mkdir", refuse)
        says(fit(runs=tmp_path / "locked" / "runs"), "No permission to write", str(tmp_path / "locked"))

    def test_cache_folder_is_a_file(self, fit, tmp_path):
        (tmp_path / "cache").touch()
        says(fit("data.cache=disk", f"data.cache_dir={tmp_path / 'cache'}"), "cache", "is a file")

    @pytest.fixture
    def small_disk(self, tmp_path):
        """A disk of 400 KB."""
        folder = tmp_path / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
        try:
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:
            mounted = False
        if not mounted:
            pytest.skip("mounting a small disk needs root")
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_full_at_the_first_checkpoint(self, fit, small_disk):
        (small_disk / "filler").write_bytes(bytes(380_000))
        says(fit(runs=small_disk / "runs"), "No space left on the disk while writing", ".npz", "Free some")

    def test_no_room_for_prepared_images(self, fit, small_disk):
        (small_disk / "filler").write_bytes(bytes(400_000))
        settings = ("data.cache=disk", f"data.cache_dir={small_disk}", "preprocessing.size=[64, 64]")
        says(fit(*settings), "data.cache: disk", "free at", "Use data.cache: auto")

    def test_full_while_training(self, fit, small_disk, monkeypatch, capsys):
        """The checkpoint before stays, and the training can be resumed when there is room."""
        from kerasortho.training.loop import Trainer

        epoch, filler = Trainer._epoch, small_disk / "filler"

        def fill(self):
            epoch(self)
            free = os.statvfs(small_disk)
            filler.write_bytes(bytes(free.f_bavail * free.f_frsize))

        monkeypatch.setattr(Trainer, "_epoch", fill)
        says(fit(runs=small_disk / "runs", leaves=("tiny",)), "No space left on the disk while writing", ".npz")
        monkeypatch.undo()
        filler.unlink()
        run = small_disk / "runs" / "tiny"
        assert (run / "checkpoints" / "last.npz").is_file() and not list(run.rglob(".*-*"))
        assert main(["fit", "--resume", str(run)]) == 0
        assert "resuming" in capsys.readouterr().err and (run / "model.keras").is_file()


class TestResume:
    """Run directories that cannot be continued."""

    def refuse(self, capsys, run, *words):
        assert main(["fit", "--resume", str(run)]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        says(told[0], str(run), *words)

    def test_none(self, capsys, tmp_path):
        self.refuse(capsys, tmp_path / "run", "There is no run directory")
        self.refuse(capsys, tmp_path, "is not a run directory")

    def test_another_format(self, capsys, tmp_path):
        (tmp_path / "data.json").write_text(json.dumps({"format": 0, "classes": []}))
        self.refuse(capsys, tmp_path, "run-directory format 0", "reads format 1")

    def test_its_images_are_gone(self, capsys, tmp_path, tiny, data):
        from kerasortho.config import config_from_dict
        from kerasortho.data.samples import load_samples
        from kerasortho.training.run import RunDirectory

        config = config_from_dict(tiny.settings(data.path))
        run = RunDirectory.create(tmp_path / "run", config, load_samples(config.data, config.task)).path
        (data.folder / "01.png").unlink()
        assert main(["fit", "--resume", str(run)]) == 2
        says(capsys.readouterr().err, "manifest.csv", "01.png")
        assert (run / "config.yaml").is_file()
