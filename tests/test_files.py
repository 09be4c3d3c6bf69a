"""Nothing is ever half written, and a failed write is explained."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat

import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.files import atomic_path, explain_os_error, require_writable, sha256_file, write_json, write_text


def test_file_appears_only_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "mask.png"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"pixels")
        assert not target.exists()
        assert temporary.parent == target.parent  # the same disk, so that the rename is atomic
        assert temporary.suffix == ".png"  # cv2.imwrite chooses the format by it
    assert target.read_bytes() == b"pixels"
    assert os.listdir(target.parent) == ["mask.png"]


def test_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "metrics.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_full_disk_leaves_the_old_file_and_is_explained(tmp_path):
    target = tmp_path / "metrics.json"
    target.write_text("old")
    with pytest.raises(KerasOrthoError, match="No space left") as caught, atomic_path(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_errors_name_the_file_that_was_asked_for(tmp_path, monkeypatch):
    """Not the temporary one, which nobody knows."""

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile._os.open", refuse)
        with pytest.raises(KerasOrthoError) as caught:
            write_text(tmp_path / "m.csv", "x")
    assert str(caught.value).startswith(f"No permission to write {tmp_path / 'm.csv'}. ")
    with pytest.raises(KerasOrthoError, match=r"Cannot write .*folder: it is a folder"):
        (tmp_path / "folder").mkdir()
        write_text(tmp_path / "folder", "x")
    with pytest.raises(KerasOrthoError) as caught, atomic_path(tmp_path / "m.csv") as temporary:
        refuse(temporary)
    assert temporary.name not in str(caught.value) and "m.csv" in str(caught.value)
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_explained(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(KerasOrthoError, match="No permission to write"):
        write_text(tmp_path / "a.txt", "x")


def test_folder_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(KerasOrthoError, match="a part of that path is a file"):
        write_text(tmp_path / "runs" / "a.txt", "x")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left"),
        (errno.EACCES, "No permission"),
        (errno.EROFS, "No permission"),
        (errno.ENOTDIR, "is a file"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_explanations_name_the_file(tmp_path, number, words):
    message = str(explain_os_error(OSError(number, os.strerror(number)), tmp_path / "model.keras"))
    assert words in message and "model.keras" in message


def test_json_is_readable_by_people_and_strict(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Röntgen", "dice": 0.5})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Röntgen" in text and text.endswith("\n") and json.loads(text) == {"name": "Röntgen", "dice": 0.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"dice": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["dice"] == 0.5


def test_sha256_of_a_file_longer_than_one_read(tmp_path):
    content = os.urandom(3 << 19)
    (tmp_path / "weights").write_bytes(content)
    assert sha256_file(tmp_path / "weights") == hashlib.sha256(content).hexdigest()


def test_require_writable_leaves_no_trace_and_names_what_is_in_the_way(tmp_path):
    require_writable(tmp_path / "to/be/made")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(KerasOrthoError, match=r"Cannot write .*file/folder: a part of that path is a file"):
        require_writable(tmp_path / "file/folder")
