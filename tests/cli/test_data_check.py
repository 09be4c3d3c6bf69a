"""``kerasortho data check``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from kerasortho.cli.data_check import check_command
from kerasortho.data.manifest import read_manifest
from kerasortho.errors import KerasOrthoError
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
    write_png(tmp_path / "c.png", np.eye(40, 30, dtype=np.uint8) * 200)
    manifest.write_text("image,group,exclude\na.png,1,\nb.png,2,\nc.png,3,blurred\n")
    (tmp_path / "b.png").unlink()
    result = CliRunner().invoke(check_command, [str(manifest), "--exclude-broken"])
    assert result.exit_code == 0  # no error is left
    told = f"Excluded 1 of 3 images in {manifest} (1 missing); excluded before: 1, in use: 1."
    assert result.output.splitlines()[-1] == told
    assert [row["exclude"] for row in read_manifest(manifest).rows] == ["", "missing: no such file", "blurred"]
    again = CliRunner().invoke(check_command, [str(manifest), "--exclude-broken"])
    assert again.exit_code == 0 and again.output.endswith(f"No image is broken: {manifest} is as it was.\n")


def test_errors_that_exclude_no_image_are_left(manifest: Path, tmp_path: Path) -> None:
    manifest.write_text("image,group,split\na.png,1,train\nb.png,1,test\n")
    before = manifest.read_text()
    result = CliRunner().invoke(check_command, [str(manifest), "--exclude-broken"])
    assert result.exit_code == 1 and manifest.read_text() == before
    assert "Errors that exclude no image are left: group_crosses_splits." in result.output


def test_a_report_that_cannot_be_written_is_told_first(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasortho.cli.data_check.check_manifest", lambda *_, **__: pytest.fail("images were read"))
    (tmp_path / "file").touch()
    result = CliRunner().invoke(check_command, [str(manifest), "--json", str(tmp_path / "file" / "report.json")])
    assert isinstance(result.exception, KerasOrthoError) and "a part of that path is a file" in str(result.exception)
    folder = CliRunner().invoke(check_command, [str(manifest), "--json", str(tmp_path)])
    assert folder.exit_code == 2 and "is a directory" in folder.output


def test_many_files_in_several_processes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(80):
        write_png(tmp_path / f"{number}.png", rng.integers(0, 255, (40, 30), np.uint8))
    (tmp_path / "79.png").write_bytes(b"broken")
    path = tmp_path / "m.csv"
    path.write_text("image,group\n" + "".join(f"{number}.png,{number}\n" for number in range(80)))
    result = CliRunner().invoke(check_command, [str(path), "--processes", "2"])
    assert result.exit_code == 1 and "ERROR  unreadable: 1" in result.output


def test_deep_tells_the_interval_to_be_expected(manifest: Path) -> None:
    cells = "".join(f"{name}.png,{name},hand,test\n" for name in ("a", "b"))
    manifest.write_text("image,group,label,split\n" + cells)
    result = CliRunner().invoke(
        check_command, [str(manifest), "--deep", "--expect", "accuracy=0.5", "--expect", "icc=0"]
    )
    assert result.exit_code == 0
    assert "test: 2 images in 2 groups: an accuracy of 0.5 gets +-0.693; fewer than 10 groups" in result.output


def test_expectations_need_deep(manifest: Path) -> None:
    result = CliRunner().invoke(check_command, [str(manifest), "--expect", "dice=0.9"])
    assert isinstance(result.exception, KerasOrthoError) and "Add --deep" in str(result.exception)


def test_boxes_of_text_go_to_a_manifest_of_their_own(tmp_path: Path) -> None:
    picture = np.full((300, 240), 60, np.uint8)
    cv2.putText(picture, "LEFT HAND", (20, 30), cv2.FONT_HERSHEY_DUPLEX, 0.7, 255, 1, cv2.LINE_AA)
    write_png(tmp_path / "a.png", picture)
    (tmp_path / "m.csv").write_text("image,group\na.png,1\n")
    options = [str(tmp_path / "m.csv"), "--deep", "--boxes", str(tmp_path / "out" / "blank.csv")]
    result = CliRunner().invoke(check_command, options)
    assert result.exit_code == 0 and "WARNING  text_lines: 1" in result.output
    row = read_manifest(tmp_path / "out" / "blank.csv").rows[0]
    assert row["image"] == "../a.png" and row["blank"].count(",") == 3
    assert (tmp_path / "m.csv").read_text() == "image,group\na.png,1\n"
