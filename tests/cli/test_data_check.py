"""``kerasortho data check``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kerasortho.cli.data_check import check_command
from kerasortho.data.manifest import read_manifest
from kerasortho.radiograph.raster import write_png


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_png(tmp_path / f"{name}.png", rng.integers(0, 255, (40, 30), np.uint8))
    path = tmp_path / "m.csv"
    path.write_text("image,group\na.png,1\nb.png,2\n")
    return path


def test_sound_dataset_exits_0(manifest: Path) -> None:
    result = CliRunner().invoke(check_command, [str(manifest)])
    assert result.exit_code == 0 and "0 kinds of errors" in result.output


def test_errors_exit_1_and_go_to_json(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    report = tmp_path / "out" / "report.json"
    result = CliRunner().invoke(check_command, [str(manifest), "--json", str(report), "--processes", "1"])
    assert result.exit_code == 1 and "ERROR  truncated: 1" in result.output
    values = json.loads(report.read_text())
    assert values["ok"] is False
    assert values["findings"][0]["cases"][0]["names"] == ["b.png"]
    assert "exclude" not in read_manifest(manifest).columns


def test_exclude_broken(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").unlink()
    assert CliRunner().invoke(check_command, [str(manifest), "--exclude-broken"]).exit_code == 1
    assert [row["exclude"] for row in read_manifest(manifest).rows] == ["", "missing: no such file"]
    assert CliRunner().invoke(check_command, [str(manifest)]).exit_code == 0


def test_many_files_in_several_processes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(80):
        write_png(tmp_path / f"{number}.png", rng.integers(0, 255, (40, 30), np.uint8))
    (tmp_path / "79.png").write_bytes(b"broken")
    path = tmp_path / "m.csv"
    path.write_text("image,group\n" + "".join(f"{number}.png,{number}\n" for number in range(80)))
    result = CliRunner().invoke(check_command, [str(path), "--processes", "2"])
    assert result.exit_code == 1 and "ERROR  unreadable: 1" in result.output
