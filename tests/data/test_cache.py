"""Where prepared images go, what they take there, and how they are deleted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kerasortho.data import cache as cache_module
from kerasortho.data.cache import COMPLETE, cache_folder, choose_place, clear, list_entries, lock_of, mark_used
from kerasortho.errors import KerasOrthoError
from kerasortho.files import locked
from kerasortho.radiograph.preprocessing import Preprocessing


class TestChoosePlace:
    """Where prepared images go, by what is left of memory and disk."""

    @pytest.fixture
    def machine(self, monkeypatch):
        def has(memory: float, disk: float) -> None:
            monkeypatch.setattr(cache_module, "available_memory", lambda: int(memory * 1e9))
            monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(disk * 1e9)))

        return has

    SPEC = Preprocessing(size=(1000, 1000))  # 3 MB an image

    @pytest.mark.parametrize(
        ("memory", "disk", "expected"),
        [
            (16, 100, "memory"),  # 3 GB are less than 30 % of 16
            (8, 100, "disk"),
            (8, 5, "none"),  # a disk that would be more than half full of them
            (0, 0, "none"),
        ],
    )
    def test_auto(self, machine, tmp_path, memory, disk, expected):
        machine(memory, disk)
        assert choose_place(1000, self.SPEC, wanted="auto", folder=tmp_path) == (expected, 3_000_000_000)

    def test_auto_takes_what_is_on_disk_already(self, machine, tmp_path):
        machine(8, 1)
        assert choose_place(1000, self.SPEC, wanted="auto", folder=tmp_path, on_disk=True)[0] == "disk"
        assert choose_place(1000, self.SPEC, wanted="disk", folder=tmp_path, on_disk=True)[0] == "disk"

    @pytest.mark.parametrize("wanted", ["memory", "disk", "none"])
    def test_wish_is_granted_where_it_fits(self, machine, tmp_path, wanted):
        machine(4, 4)
        assert choose_place(1000, self.SPEC, wanted=wanted, folder=tmp_path / "not" / "there")[0] == wanted

    @pytest.mark.parametrize(("wanted", "words"), [("memory", "of memory available"), ("disk", "free at")])
    def test_wish_that_does_not_fit(self, machine, tmp_path, wanted, words):
        machine(2, 2)
        with pytest.raises(KerasOrthoError) as caught:
            choose_place(1000, self.SPEC, wanted=wanted, folder=tmp_path)
        assert f"data.cache: {wanted}" in str(caught.value) and words in str(caught.value)
        assert "need 3.0 GB, but there are 2.0 GB" in str(caught.value)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERASORTHO_CACHE", raising=False)
    assert cache_folder(None) == tmp_path / ".cache" / "kerasortho" / "prepared"
    monkeypatch.setenv("KERASORTHO_CACHE", str(tmp_path / "a"))
    assert cache_folder(None) == tmp_path / "a" / "prepared"
    assert cache_folder("~/b") == tmp_path / "b" / "prepared"


@pytest.fixture
def entries(tmp_path: Path) -> list[Path]:
    """Entries last used 3, 2 and 1 days ago, the first of them unfinished; and files that are nobody's business."""
    names = [f".{'a' * 32}.partial", "b" * 32, "c" * 32]
    for days, name in zip((3, 2, 1), names, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.u16").write_bytes(bytes(1000))
        if not name.startswith("."):
            (tmp_path / name / COMPLETE).write_text(json.dumps({"images": 7, "size": [24, 16]}))
        for file in (tmp_path / name).iterdir():
            os.utime(file, (time.time() - 86_400 * days,) * 2)
    (tmp_path / "thesis").mkdir()
    (tmp_path / ("d" * 32)).write_text("a file")
    return [tmp_path / name for name in names]


def test_entries_are_listed_with_the_longest_unused_first(entries: list[Path], tmp_path: Path) -> None:
    found = list_entries(tmp_path)
    assert [entry.folder for entry in found] == entries
    assert [(entry.images, entry.size) for entry in found] == [(0, (0, 0)), (7, (24, 16)), (7, (24, 16))]
    assert [entry.bytes for entry in found] == [
        1000,
        1000 + len(json.dumps({"images": 7, "size": [24, 16]})),
        found[2].bytes,
    ]
    assert [entry.folder for entry in list_entries(tmp_path, older_than=1.5)] == entries[:2]
    mark_used(entries[1])
    assert [entry.folder for entry in list_entries(tmp_path, older_than=0.5)] == [entries[0], entries[2]]
    assert list_entries(tmp_path / "nowhere") == []


def test_clearing_deletes_entries_and_nothing_else(entries: list[Path], tmp_path: Path) -> None:
    assert len(clear(list_entries(tmp_path, older_than=1.5))) == 2
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {"c" * 32, "d" * 32, "thesis"}


@pytest.mark.skipif(os.name == "nt", reason="no locks there")
def test_what_is_being_written_stays(entries: list[Path], tmp_path: Path) -> None:
    with locked(lock_of(tmp_path / ("a" * 32))):
        gone = clear(list_entries(tmp_path))
    assert [entry.folder for entry in gone] == entries[1:] and entries[0].is_dir()


def test_what_cannot_be_deleted_is_told(entries: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cache_module.shutil, "rmtree", refuse)
    with pytest.raises(KerasOrthoError, match="No permission"):
        clear(list_entries(tmp_path))
