"""Proposed exclusions: who is proposed, what a user confirms, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasortho.cli.main import main
from kerasortho.data.checking.exclusions import exclude, propose, read_confirmed, write_proposals
from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.manifest import Manifest, read_manifest, write_manifest
from kerasortho.errors import KerasOrthoError

IMAGES = ("a.png", "b, c.png", "d.png", "gone.png")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = tuple({"image": name, "exclude": "by hand" if name == "gone.png" else ""} for name in IMAGES)
    result = Manifest(tmp_path / "data.csv", ("image", "exclude"), rows)
    write_manifest(result)
    return result


FINDINGS = (
    Finding("error", "truncated", "", (Case(("d.png",), "ends early"), Case(("gone.png",), "ends early"))),
    Finding("warning", "near_duplicates", "", (Case(("a.png", "b, c.png"), "correlation 0.99"),)),
    Finding("warning", "mask_empty", "", (Case(("a.png",)),)),
)


def test_of_copies_the_later_one_is_proposed(manifest: Manifest) -> None:
    found = propose(manifest, FINDINGS)
    assert [(proposal.image, proposal.reason) for proposal in found] == [
        ("b, c.png", "near_duplicates (of a.png): correlation 0.99"),
        ("d.png", "truncated: ends early"),
    ]


def test_only_what_was_confirmed_is_excluded(manifest: Manifest, tmp_path: Path) -> None:
    file, before = tmp_path / "exclusions.csv", manifest.path.read_bytes()
    write_proposals(propose(manifest, FINDINGS), file)
    assert read_confirmed(file) == {}
    lines = file.read_text().splitlines()
    file.write_text("\r\n".join([lines[0], f"{lines[1]}Yes", lines[2]]), encoding="utf-8-sig")  # as Excel saves it
    reasons = read_confirmed(file)
    assert list(reasons) == ["b, c.png"]
    assert [row["exclude"] for row in exclude(manifest, reasons).rows] == ["", reasons["b, c.png"], "", "by hand"]
    assert list(read_confirmed(file, everything=True)) == ["b, c.png", "d.png"]
    assert manifest.path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,reason\na.png,x\n", 'no column "confirmed"'),
        ("image,reason,confirmed\na.png,x,perhaps\n", "says 'perhaps'. Write yes"),
        ("image,reason,confirmed\na.png,x,yes\na.png,y,yes\n", "names a.png twice"),
    ],
)
def test_unclear_lists_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "exclusions.csv"
    file.write_text(text)
    with pytest.raises(KerasOrthoError, match=message):
        read_confirmed(file)


def test_images_of_another_manifest_are_refused(manifest: Manifest) -> None:
    with pytest.raises(KerasOrthoError, match=r"lacks 1 image of the list: other.png"):
        exclude(manifest, {"other.png": "x"})


def test_command(manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "exclusions.csv", tmp_path / "elsewhere" / "new.csv"
    write_proposals(propose(manifest, FINDINGS), file)
    words = ["data", "exclude", str(manifest.path), str(file), str(out)]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "0 images excluded, 1 were before, 3 in use" in printed.out
    assert "No line of" in printed.err
    assert main(words) == 2  # it exists
    assert main([*words, "--all", "--overwrite"]) == 0
    assert "2 images excluded, 1 were before, 1 in use" in capsys.readouterr().out
    rows = read_manifest(out, check_files=False).rows
    assert [row["image"] for row in rows] == [f"../{name}" for name in IMAGES]
    assert rows[2]["exclude"] == "truncated: ends early"
