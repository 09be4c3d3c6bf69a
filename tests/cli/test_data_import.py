"""``kerasortho data import``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from kerasortho.cli.data_import import import_command
from kerasortho.data.manifest import read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_mask


def put(*files: Path) -> None:
    for file in files:
        write_png(file, np.zeros((4, 4), np.uint8))


def test_classes(tmp_path: Path) -> None:
    put(tmp_path / "set" / "hand" / "1.png", tmp_path / "set" / "leg" / "2.png")
    result = CliRunner().invoke(import_command, ["classes", str(tmp_path / "set"), str(tmp_path / "m.csv")])
    assert result.exit_code == 0 and "2 images" in result.output and "kerasortho data check" in result.output
    assert [row["label"] for row in read_manifest(tmp_path / "m.csv").rows] == ["hand", "leg"]


def test_pairs(tmp_path: Path) -> None:
    put(tmp_path / "i" / "1.png", tmp_path / "i" / "2.png", tmp_path / "m" / "1.png")
    arguments = ["pairs", "--images", str(tmp_path / "i"), "--masks", str(tmp_path / "m"), str(tmp_path / "m.csv")]
    refused = CliRunner().invoke(import_command, arguments)
    assert isinstance(refused.exception, KerasOrthoError) and "--skip-unmatched" in str(refused.exception)
    assert not (tmp_path / "m.csv").exists()
    result = CliRunner().invoke(import_command, [*arguments, "--skip-unmatched"])
    assert result.exit_code == 0 and "1 of 2 images has no mask" in result.output
    assert len(read_manifest(tmp_path / "m.csv").rows) == 1


def test_fracatlas_says_what_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(import_command, ["fracatlas", str(tmp_path), str(tmp_path / "m.csv")])
    assert isinstance(result.exception, KerasOrthoError) and "dataset.csv is missing" in str(result.exception)
    (tmp_path / "FracAtlas").mkdir()
    (tmp_path / "FracAtlas" / "dataset.csv").touch()
    result = CliRunner().invoke(import_command, ["fracatlas", str(tmp_path), str(tmp_path / "m.csv")])
    assert f'Did you mean "{tmp_path / "FracAtlas"}"?' in str(result.exception)


def test_bones(real_data: Path, tmp_path: Path) -> None:
    bones = real_data / "data" / "FracAtlas-bones"
    options = {
        "--images": real_data / "data" / "FracAtlas" / "images",
        "--masks": bones / "masks",
        "--ignore": bones / "ignore",
        "--columns": bones / "annotations.csv",
        "--columns-key": "image_id",
    }
    arguments = [str(word) for option in options.items() for word in option]
    result = CliRunner().invoke(import_command, ["pairs", *arguments, "--skip-unmatched", str(tmp_path / "bones.csv")])
    assert result.exit_code == 0 and "141 images" in result.output


def test_dicom(tmp_path: Path) -> None:
    from kerasortho.data.phantom import PhantomSettings, generate_phantoms

    generate_phantoms(tmp_path / "ph", PhantomSettings(patients=2, views=1, size=64, format="dicom"))
    arguments = [
        "dicom",
        str(tmp_path / "ph" / "images"),
        str(tmp_path / "m.csv"),
        "--label",
        "limb",
        "--processes",
        "1",
    ]
    result = CliRunner().invoke(import_command, [*arguments, "--copy-to", str(tmp_path / "png")])
    assert result.exit_code == 0 and "labels: lower 1, upper 1" in result.output and "2 images" in result.output
    assert {row["image"][:6] for row in read_manifest(tmp_path / "m.csv").rows} == {"png/g-"}
    refused = CliRunner().invoke(import_command, [*arguments, "--overwrite", "--salt-env", "KERASORTHO_NO_SUCH_SALT"])
    assert isinstance(refused.exception, KerasOrthoError) and "KERASORTHO_NO_SUCH_SALT" in str(refused.exception)


def test_csv(tmp_path: Path) -> None:
    put(tmp_path / "set" / "1.png")
    (tmp_path / "list.csv").write_text("file;patient\n1.png;Miller\n")
    arguments = ["csv", str(tmp_path / "list.csv"), str(tmp_path / "m.csv"), "--image-col", "file"]
    result = CliRunner().invoke(import_command, [*arguments, "--group-col", "patient", "--root", str(tmp_path / "set")])
    assert result.exit_code == 0 and "Miller" not in result.output
    assert read_manifest(tmp_path / "m.csv").rows[0]["group"].startswith("g-")


def test_coco_and_vgg(tmp_path: Path) -> None:
    put(tmp_path / "images" / "1.png")
    square = [0, 0, 2, 0, 2, 2, 0, 2]
    coco = {
        "images": [{"id": 1, "file_name": "1.png", "width": 4, "height": 4}],
        "categories": [{"id": 1, "name": "bone"}, {"id": 2, "name": "metal"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square]}],
    }
    shape = {"name": "polygon", "all_points_x": square[::2], "all_points_y": square[1::2]}
    via = {"1.png": {"filename": "1.png", "regions": [{"shape_attributes": shape, "region_attributes": {"a": "b"}}]}}
    for command, content, option in (("coco", coco, "--category=bone"), ("vgg", via, "--attribute=a=b")):
        (tmp_path / "a.json").write_text(json.dumps(content))
        output = tmp_path / f"{command}.csv"
        arguments = [command, str(tmp_path / "a.json"), "--images", str(tmp_path / "images"), str(output), option]
        result = CliRunner().invoke(import_command, arguments)
        assert result.exit_code == 0, result.exception
        manifest = read_manifest(output)
        mask = manifest.resolve(manifest.rows[0], "mask")
        assert mask is not None and read_mask(mask).sum() == 4


def test_labels(tmp_path: Path) -> None:
    put(tmp_path / "i" / "1.png")
    write_png(tmp_path / "m" / "1.png", np.array([[0, 1, 2, 3]] * 4, np.uint8))
    arguments = ["labels", "--images", str(tmp_path / "i"), "--masks", str(tmp_path / "m"), str(tmp_path / "m.csv")]
    refused = CliRunner().invoke(import_command, arguments)
    assert isinstance(refused.exception, KerasOrthoError) and "--foreground" in str(refused.exception)
    result = CliRunner().invoke(import_command, [*arguments, "--foreground", "1,2", "--ignore-value", "3"])
    assert result.exit_code == 0 and "Marked: 1, 2, doubtful: 3" in result.output


def test_nnunet(tmp_path: Path) -> None:
    root = tmp_path / "Dataset001"
    put(root / "imagesTr" / "a_0000.png", root / "labelsTr" / "a.png")
    content = {"channel_names": {"0": "xray"}, "labels": {"background": 0, "bone": 1}, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps(content))
    result = CliRunner().invoke(import_command, ["nnunet", str(root), str(tmp_path / "m.csv"), "--label", "bone"])
    assert result.exit_code == 0 and len(read_manifest(tmp_path / "m.csv").rows) == 1


def test_seg(tmp_path: Path) -> None:
    arguments = ["seg", "--images", str(tmp_path), "--segs", str(tmp_path), str(tmp_path / "m.csv")]
    result = CliRunner().invoke(import_command, [*arguments, "--several", "union", "--segment", "Bone"])
    assert isinstance(result.exception, KerasOrthoError) and "holds no DICOM segmentation" in str(result.exception)
