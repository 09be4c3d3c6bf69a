"""Files found by the names that lists give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasortho.data.importing.named_files import NamedFiles
from kerasortho.errors import KerasOrthoError

ROOT = Path("/data/xray")


def named(*names: str) -> NamedFiles:
    return NamedFiles(ROOT, [ROOT / name for name in names])


@pytest.mark.parametrize(
    "name",
    ["hand/1.png", "./hand/1.png", "hand\\1.png", "C:\\xray\\hand\\1.png", "/elsewhere/xray/hand/1.png", "1.png"],
)
def test_ways_to_name_a_file(name: str) -> None:
    assert named("hand/1.png", "hand/2.png").find(name) == ROOT / "hand/1.png"


def test_names_of_no_file() -> None:
    files = named("hand/1.png")
    assert [files.find(name) for name in ("2.png", "leg/1.png", "", "hand", "and/1.png")] == [None] * 5


def test_two_files_of_one_name() -> None:
    files = named("hand/1.png", "leg/1.png", "1.tif")
    with pytest.raises(KerasOrthoError, match=r"1\.png may be /data/xray/hand/1\.png or /data/xray/leg/1\.png"):
        files.find("1.png")
    assert files.find("leg/1.png") == ROOT / "leg/1.png"


def test_letters_composed_or_not() -> None:
    assert named("Hu\u0308fte.png").find("H\u00fcfte.png") == ROOT / "Hu\u0308fte.png"
    with pytest.raises(KerasOrthoError, match="named alike"):
        named("u\u0308.png", "\u00fc.png")
