"""``kerasortho data split``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kerasortho.cli.data_split import split_command
from kerasortho.data.manifest import read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["image,label"]
    for number in range(24):
        write_png(tmp_path / f"{number}.png", rng.integers(0, 255, (40, 30), np.uint8))
        lines.append(f"{number}.png,{'hand' if number % 2 else 'leg'}")
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines))
    return path


def test_split_and_then_folds(manifest: Path) -> None:
    result = CliRunner().invoke(split_command, [str(manifest), "--id-blocks", "2", "--fractions", "0.5,0.25,0.25"])
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines() if line.startswith("train")] == [
        ["train", "12", "50.0%", "6", "6", "6"]
    ]
    assert CliRunner().invoke(split_command, [str(manifest), "--folds", "3"]).exit_code == 0
    rows = read_manifest(manifest).rows
    assert {row["split"] for row in rows} == {"train", "val", "test"} and {row["fold"] for row in rows} == set("012")
    assert all(rows[i]["group"] == rows[i + 1]["group"] for i in range(0, 24, 2))


def test_output_leaves_the_manifest_alone(manifest: Path, tmp_path: Path) -> None:
    before = manifest.read_text()
    result = CliRunner().invoke(
        split_command, [str(manifest), "--ungrouped", "--output", str(tmp_path / "sub" / "n.csv")]
    )
    assert result.exit_code == 0 and manifest.read_text() == before
    assert {row["split"] for row in read_manifest(tmp_path / "sub" / "n.csv").rows} == {"train", "val", "test"}


def test_an_output_that_cannot_be_written_is_told_first(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasortho.cli.data_split.split_manifest", lambda *_, **__: pytest.fail("images were read"))
    output = manifest / "n.csv"
    result = CliRunner().invoke(split_command, [str(manifest), "--ungrouped", "--output", str(output)])
    assert isinstance(result.exception, KerasOrthoError) and "a part of that path is a file" in str(result.exception)
    folder = CliRunner().invoke(split_command, [str(manifest), "--ungrouped", "--output", str(tmp_path)])
    assert folder.exit_code == 2 and "is a directory" in folder.output


def test_single_images_are_no_groups_for_the_next_split(manifest: Path) -> None:
    assert CliRunner().invoke(split_command, [str(manifest), "--ungrouped"]).exit_code == 0
    refused = CliRunner().invoke(split_command, [str(manifest), "--seed", "1"])
    assert isinstance(refused.exception, KerasOrthoError) and "single images" in str(refused.exception)
    blocks = CliRunner().invoke(split_command, [str(manifest), "--id-blocks", "2"])
    assert blocks.exit_code == 0 and "Groups: blocks of 2 file numbers." in blocks.output
    assert CliRunner().invoke(split_command, [str(manifest), "--ungrouped"]).exit_code == 1
    anew = CliRunner().invoke(split_command, [str(manifest), "--ungrouped", "--regroup"])
    assert anew.exit_code == 0 and "Groups: single images, patients unknown." in anew.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--group-column"),
        (["--fractions", "0.7;0.3", "--ungrouped"], "--fractions takes three numbers"),
        (["--fractions", "0.7,0.2,0.1", "--folds", "3", "--ungrouped"], "exclude each other"),
        (["--group-column", "patient"], 'no column "patient"'),
    ],
)
def test_refusals_write_nothing(manifest: Path, arguments: list[str], message: str) -> None:
    before = manifest.read_text()
    result = CliRunner().invoke(split_command, [str(manifest), *arguments])
    assert isinstance(result.exception, KerasOrthoError) and message in str(result.exception)
    assert manifest.read_text() == before
