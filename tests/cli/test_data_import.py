"""``kerasortho data import``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner

from kerasortho.cli.data_import import import_command
from kerasortho.data.manifest import read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png


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
