"""``kerasortho data cache``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.data.samples import Sample
from kerasortho.data.store import SampleStore
from kerasortho.radiograph.preprocessing import Preprocessing
from kerasortho.radiograph.raster import write_png


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleStore:
    """One prepared image of 1,000 x 2,000 px, 6 MB, in $KERASORTHO_CACHE."""
    monkeypatch.setenv("KERASORTHO_CACHE", str(tmp_path / "cache"))
    write_png(tmp_path / "a.png", np.arange(1200, dtype=np.uint16).reshape(40, 30))
    sample = Sample("a.png", tmp_path / "a.png", None, None, 0, "g", "train", {})
    return SampleStore([sample], Preprocessing((1000, 2000)), place="disk", folder=tmp_path / "cache" / "prepared")


def test_list_and_clear(store: SampleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cache" / "prepared"
    assert main(["data", "cache"]) == 0
    out = capsys.readouterr().out
    assert f"Prepared images in {folder}: 1 entry, 6.0 MB" in out
    assert f"  {store.key()}  1 image of 1000x2000, 6.0 MB, last used 20" in out
    assert main(["data", "cache", "--clear", "--older-than", "1"]) == 0
    assert "Deleted 0 entries" in capsys.readouterr().out and store.is_on_disk(folder)
    assert main(["data", "cache", "--clear"]) == 0
    assert "Deleted 1 entry, 6.0 MB." in capsys.readouterr().out and not store.is_on_disk(folder)
    assert store[0][0].shape == (1000, 2000)  # a training that uses it goes on


def test_another_folder(store: SampleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "cache", "--cache-dir", str(tmp_path / "other")]) == 2
    assert f"there is no folder {tmp_path / 'other'}" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    assert main(["data", "cache", "--cache-dir", str(tmp_path / "other")]) == 0
    assert capsys.readouterr().out == f"Prepared images in {tmp_path / 'other' / 'prepared'}: 0 entries, 0 bytes\n"
