"""The check's page: pictures of every finding, names that are no markup, nothing half-written."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.data.checking.check_report import SHOWN, write_report
from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.manifest import Manifest, write_manifest

ODD = "<b>5 & 6, 骨.png"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Three images, one of them with a mask of half its size, and one that cannot be read."""
    rng = np.random.default_rng(0)
    for name in ("a.png", ODD):
        done, data = cv2.imencode(".png", rng.integers(0, 200, (120, 90), np.uint8))
        assert done
        (tmp_path / name).write_bytes(data.tobytes())
    mask = np.zeros((60, 45), np.uint8)
    mask[10:50, 10:35] = 255
    assert cv2.imwrite(str(tmp_path / "mask.png"), mask)
    (tmp_path / "broken.png").write_bytes(b"no image")
    rows = tuple(
        {"image": name, "mask": "mask.png" if name == "a.png" else ""} for name in ("a.png", ODD, "broken.png")
    )
    result = Manifest(tmp_path / "data.csv", ("image", "mask"), rows)
    write_manifest(result)
    return result


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR) for text in found]


def test_pictures_show_masks_boxes_and_pairs(manifest: Manifest, tmp_path: Path) -> None:
    findings = [
        Finding("error", "mask_size", "Another size.", (Case(("a.png",), "mask.png"),)),
        Finding("warning", "burned_in_text", "Text.", (Case((ODD,), "a word", ((10, 20, 40, 30),)),)),
        Finding("warning", "near_duplicates", "Alike.", (Case(("a.png", ODD)),)),
        Finding("error", "unreadable", "Broken.", (Case(("broken.png",)),)),
        Finding("info", "no_groups", "None.", (Case(("data.csv",), "a manifest"),)),
    ]
    assert write_report(manifest, findings, tmp_path / "report") == 3
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    found = pictures(page)
    assert [image.shape for image in found[:4]] == [(120, 90, 3)] * 4
    assert len(found) == 5
    orange = (found[0][..., 2] > 190) & (found[0][..., 0] < 90)
    assert orange.sum() > 60  # the outline, though its mask has another size
    cyan = (found[1][..., 0] > 150) & (found[1][..., 2] < 80)
    rows, columns = np.nonzero(cyan)
    assert abs(rows.min() - 20) <= 2 and abs(columns.max() - 50) <= 2
    assert "&lt;b&gt;5 &amp; 6, 骨.png" in page
    assert "<b>5" not in page
    assert "data.csv: a manifest" in page
    assert "http" not in page  # nothing is fetched


def test_json_has_every_case_and_the_page_says_how_many_more(manifest: Manifest, tmp_path: Path) -> None:
    many = tuple(Case(("a.png",), f"number {n}") for n in range(SHOWN + 7))
    write_report(manifest, [Finding("warning", "odd", "Odd.", many)], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert len(pictures(page)) == SHOWN
    assert "7 more in findings.json" in page
    values = json.loads((tmp_path / "report" / "findings.json").read_text(encoding="utf-8"))
    assert len(values["findings"][0]["cases"]) == SHOWN + 7


def test_command_writes_the_three_files(manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(manifest.path), "--report", str(tmp_path / "out"), "--processes", "1"]) == 1
    assert "2 images are proposed for exclusion" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"report.html", "findings.json", "exclusions.csv"}
    with (tmp_path / "out" / "exclusions.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"a.png", "broken.png"}
    assert rows["broken.png"]["reason"].startswith("unreadable")
    assert {row["confirmed"] for row in rows.values()} == {""}


def test_nothing_found_is_said(manifest: Manifest, tmp_path: Path) -> None:
    assert write_report(manifest, [], tmp_path / "report") == 0
    assert "Nothing was found." in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
