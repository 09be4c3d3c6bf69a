"""--deterministic: two processes that train the same end with the same bits. test_resume.py shows it, too."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def identical(arrays):
    """Assert that two runs have the same variables, of which there are some, and the same history."""

    def compare(one, other):
        assert (one / "history.csv").read_text() == (other / "history.csv").read_text()
        for name in ("best.npz", "last.npz"):
            a, b = arrays(one / "checkpoints" / name), arrays(other / "checkpoints" / name)
            assert a.keys() == b.keys() and len(a) > 3
            assert all(np.array_equal(a[key], b[key]) for key in a if key != "progression"), name

    return compare


def test_segmentation_twice_with_everything_on_and_images_kept_elsewhere(
    command, tiny, dataset, write_config, identical, tmp_path
):
    """All augmentations, border weights, foreground sampling; prepared images on disk once, then read in each epoch."""
    training = {"loss": "bce_dice", "loss_options": {"pos_weight": "auto"}, "border_weight": 5.0, "batch_size": 11}
    training |= {"foreground_fraction": 0.9, "monitor": "val_dice", "mode": "max", "seed": 3}
    values = tiny.settings(dataset, "segmentation", **training)
    values["data"]["cache_dir"] = str(tmp_path / "cache")
    options = {"base_filters": 2, "depth": 1, "upsampling": "bilinear", "dropout": 0.3}
    values["model"] = {"name": "unet", "options": options}
    values["augmentation"] = {
        "horizontal_flip": True, "vertical_flip": True, "quarter_turn": 0.5, "rotation": 30, "scale": [0.7, 1.5],
        "shift": 0.1, "elastic": 4, "collimation": 0.5, "gamma": 0.5, "contrast": 0.3, "brightness": 0.1,
        "tone_curve": 0.4, "local_contrast": 0.7, "blur": 1.0, "resolution_loss": 0.4, "noise": 0.03, "invert": 0.3,
    }  # fmt: skip
    config = write_config(tmp_path / "tiny.yaml", values)
    places = {"disk": 1, "none": 0}
    started = [
        command("fit", config, "--runs", tmp_path, "--deterministic", "--name", place,
                "--set", f"data.cache={place}", "--set", f"data.workers={workers}")
        for place, workers in places.items()
    ]  # fmt: skip
    assert [child.wait() for child in started] == [0, 0], started[0].output + started[1].output
    identical(*(tmp_path / place for place in places))
