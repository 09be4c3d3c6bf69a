"""``kerasortho data export``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kerasortho.cli.data_export import export_command
from kerasortho.cli.main import main
from kerasortho.radiograph.raster import write_png


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write_png(tmp_path / "i" / "1.png", np.zeros((4, 4), np.uint8))
    write_png(tmp_path / "m" / "1.png", np.eye(4, dtype=bool))
    (tmp_path / "m.csv").write_text("image,mask\ni/1.png,m/1.png\n")
    return tmp_path / "m.csv"


def test_coco(manifest: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(export_command, ["coco", str(manifest), str(tmp_path / "o.json"), "--category", "bone"])
    assert result.exit_code == 0 and "o.json: 1 image." in result.output
    assert len(json.loads((tmp_path / "o.json").read_text())["annotations"]) == 4


def test_nnunet(manifest: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(export_command, ["nnunet", str(manifest), str(tmp_path / "Dataset501_Bones")])
    assert result.exit_code == 0 and "split at random" in result.output
    assert (tmp_path / "Dataset501_Bones" / "labelsTr" / "case_00001.png").is_file()


def test_mistakes_have_no_traceback(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "o.json").touch()
    assert main(["data", "export", "coco", str(manifest), str(tmp_path / "o.json")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("Error: ") and "--overwrite" in told
