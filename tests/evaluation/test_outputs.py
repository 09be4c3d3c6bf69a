"""Files in, names out: folders searched, no result over another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.outputs import forget_failures, gather_files, record_sources, result_names

DICOM = b"\0" * 128 + b"DICM" + b"\0" * 200


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_folders_are_searched_in_natural_order_and_files_taken_once(tmp_path: Path) -> None:
    for name in ("in/b/10.png", "in/b/2.PNG", "in/a.dcm", "in/notes.txt", "in/.hidden.png", "in/README"):
        touch(tmp_path / name)
    bare = touch(tmp_path / "in/IM0001", DICOM)
    found = gather_files([tmp_path / "in/b/10.png", str(tmp_path / "in"), tmp_path / "in/b/../a.dcm"], None)
    assert found[0] == tmp_path / "in/b/10.png"
    assert {f.name for f in found} == {"10.png", "2.PNG", "a.dcm", bare.name}
    assert len(found) == 4


def test_results_are_not_taken_for_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = touch(tmp_path / "a.png")
    touch(tmp_path / "predictions/a_mask.png")
    touch(tmp_path / "predictions/sources.json")
    assert gather_files([tmp_path], tmp_path / "predictions") == [image]
    assert capsys.readouterr().err == ""


def test_what_is_no_image_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "1.TXT", "2.txt", "report.pdf", "README", ".hidden"):
        touch(tmp_path / name)
    gather_files([tmp_path, tmp_path], None)
    assert capsys.readouterr().err == "Files skipped, being no images: 4 (2 .txt, 1 .pdf, 1 without ending).\n"


def test_a_file_named_goes_through_whatever_its_ending(tmp_path: Path) -> None:
    assert gather_files([tmp_path / "missing.xyz"], None) == [tmp_path / "missing.xyz"]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(KerasOrthoError, match="holds no image"):
        gather_files([tmp_path], None)
    with pytest.raises(KerasOrthoError, match="No file is named"):
        gather_files([], None)


def test_one_stem_in_two_folders_gets_two_names(tmp_path: Path) -> None:
    files = [tmp_path / "a/hand.png", tmp_path / "b/hand.png", tmp_path / "b/hand.jpg", tmp_path / "b/HAND.tif"]
    assert result_names(files, tmp_path / "out") == ["hand", "hand-2", "hand-3", "HAND-4"]


def test_names_last_from_call_to_call(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = tmp_path / "a/hand.png", tmp_path / "b/hand.png"
    assert result_names([first], out) == ["hand"] and not out.exists()
    record_sources(["hand"], [first], out)
    assert result_names([second], out) == ["hand-2"]
    record_sources(["hand-2"], [second], out)
    assert result_names([second, first], out) == ["hand-2", "hand"]
    assert set(json.loads((out / "sources.json").read_text())) == {"hand", "hand-2"}


def test_failures_are_forgotten_and_results_kept(tmp_path: Path) -> None:
    record_sources(["a", "b"], [Path("a.png"), Path("b.png")], tmp_path)
    touch(tmp_path / "b_mask.png")
    forget_failures(tmp_path)
    assert list(json.loads((tmp_path / "sources.json").read_text())) == ["b"]
    assert result_names([Path("other/a.png"), Path("other/b.png")], tmp_path) == ["a", "b-2"]


def test_files_of_unknown_origin_are_left_alone(tmp_path: Path) -> None:
    touch(tmp_path / "out/hand_mask.png")
    assert result_names([tmp_path / "hand.png"], tmp_path / "out") == ["hand-2"]


def test_the_dots_of_a_uid_are_not_an_ending(tmp_path: Path) -> None:
    assert result_names([Path("1.2.840.1"), Path("1.2.840.2"), Path("x.dcm")], tmp_path) == [
        "1.2.840.1",
        "1.2.840.2",
        "x",
    ]


def test_a_damaged_list_of_sources_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "sources.json", b"[1]")
    with pytest.raises(KerasOrthoError, match="Delete it"):
        result_names([Path("a.png")], tmp_path)


@given(
    st.lists(
        st.sampled_from(["a/x.png", "b/x.png", "c/x-2.png", "X.dcm", "x-2-2.png", "d/x-3", "x_mask.png"]), unique=True
    )
)
def test_no_two_files_ever_share_a_name(tmp_path_factory: pytest.TempPathFactory, files: list[str]) -> None:
    names = result_names([Path(f) for f in files], tmp_path_factory.mktemp("out"))
    results = [f"{name}_{kind}.png".lower() for name in names for kind in ("mask", "overlay")]
    assert len(set(results)) == 2 * len(files)
