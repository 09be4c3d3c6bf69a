"""The main job on real radiographs, made small: import, split, fit, evaluate and predict for both tasks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from kerasortho.cli.main import main
from kerasortho.radiograph import read_radiograph

pytest.importorskip("tensorflow")
ROOT = Path(__file__).parents[2]
WEIGHTS = "mobilenetv2_imagenet_1.0_224_no_top_from-int8.weights.h5"


@pytest.fixture(scope="module")
def bones(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 141 radiographs with bone masks, imported and split: 85 to train, 28 to validate, 28 to test."""
    manifest = tmp_path_factory.mktemp("bones") / "bones.csv"
    data, masks = real_data / "data" / "FracAtlas", real_data / "data" / "FracAtlas-bones"
    folders = ["--images", data / "images", "--masks", masks / "masks", "--ignore", masks / "ignore"]
    columns = ["--columns", masks / "annotations.csv", "--columns-key", "image_id", "--skip-unmatched"]
    assert main(["data", "import", "pairs", *map(str, [*folders, *columns, manifest])]) == 0
    split = ["--fractions", "0.6,0.2,0.2", "--stratify", "limb", "--id-blocks", "20"]
    assert main(["data", "split", str(manifest), *split]) == 0
    return manifest


def scores(recipe: str, manifest: Path, weights: Path, *settings: str) -> tuple[Path, dict]:
    """Train and judge a recipe; return its run and its metrics on the test split."""
    runs = manifest.parent / "runs"
    options = [f"data.manifest={manifest}", f"model.options.weights={weights}", "data.cache=memory", *settings]
    changes = [part for option in options for part in ("--set", option)]
    assert main(["fit", str(ROOT / "configs" / f"{recipe}.yaml"), "--runs", str(runs), *changes]) == 0
    assert main(["evaluate", str(runs / recipe)]) == 0
    return runs / recipe, json.loads((runs / recipe / "metrics.json").read_text())["test"]["metrics"]


def test_bone_segmentation(bones: Path, real_data: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("gdcm")
    small = ["preprocessing.size=[128,128]", "training.epochs=4"]
    run, metrics = scores("bone-unet", bones, real_data / "weights" / WEIGHTS, *small)
    assert metrics["dice"]["value"] > 0.5  # all of it marked: 0.3
    assert metrics["dice"]["low"] < metrics["dice"]["value"] < metrics["dice"]["high"]
    capsys.readouterr()
    dicom = real_data / "data" / "dicom" / "RG3_J2KI.dcm"
    assert main(["predict", str(run), str(dicom), "--output", str(tmp_path / "answers")]) == 0
    answer = json.loads(capsys.readouterr().out)
    mask = cv2.imread(str(tmp_path / "answers" / "RG3_J2KI_mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == read_radiograph(dicom).pixels.shape and 0.05 < (mask > 0).mean() < 0.7
    assert answer["foreground_fraction"] == pytest.approx((mask > 0).mean(), abs=1e-4)


def test_limb_recognition(bones: Path, real_data: Path) -> None:
    mild = ["vertical_flip=false", "quarter_turn=0", "scale=[0.9,1.1]", "collimation=0", "blur=0", "local_contrast=0"]
    short = ["batch_size=4", "phases.0.epochs=1", "phases.1.epochs=4"]
    small = ["preprocessing.size=[128,128]", *(f"augmentation.{s}" for s in mild), *(f"training.{s}" for s in short)]
    _, metrics = scores("limb-mobilenetv2", bones, real_data / "weights" / WEIGHTS, *small)
    assert metrics["roc_auc"]["value"] > 0.7
    assert 0 <= metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"] <= 1
