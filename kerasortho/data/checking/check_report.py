"""The dataset check as a page with pictures, as JSON, and as a list of exclusions for the user to confirm."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kerasortho import __version__
from kerasortho.data.checking.exclusions import propose, write_proposals
from kerasortho.data.checking.findings import Case, Finding, common_folder, report_values
from kerasortho.data.manifest import Manifest, Row, is_excluded
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.files import write_json, write_text
from kerasortho.radiograph.overlay import to_uint8
from kerasortho.radiograph.reading import read_mask, read_radiograph

PAGE, VALUES, PROPOSALS = "report.html", "findings.json", "exclusions.csv"
SHOWN = 60
"""Cases of a finding that the page shows; findings.json has all."""

_SIDE = 190  # px, of a picture's longer side
_ORANGE, _CYAN = (0, 150, 255), (230, 200, 0)  # blue, green, red


@dataclass(frozen=True)
class _Picture:
    """What a thumbnail needs: the image's file, the mask's, and boxes."""

    image: Path
    mask: Path | None
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def write_report(
    manifest: Manifest,
    findings: Sequence[Finding],
    folder: str | os.PathLike[str],
    *,
    deep: bool = False,
    processes: int = 1,
    what: str = "",
) -> int:
    """Write report.html (one file, pictures inside), findings.json and exclusions.csv into ``folder``.

    Args:
        manifest: the dataset that was checked.
        findings: what was found.
        folder: is made where it does not exist; the three files are replaced if they are there.
        deep: whether the deep checks were run, for the page's head.
        processes: how many processes draw pictures.
        what: a word for the progress on stderr; empty for none.

    Returns:
        How many images are proposed for exclusion.
    """
    target = Path(folder)
    rows = {row["image"]: row for row in manifest.rows}
    proposals = propose(manifest, findings)
    cases = [(finding, case) for finding in findings for case in finding.cases[:SHOWN] if _pictured(case, rows)]
    wanted = [_pictures(manifest, finding, case, rows) for finding, case in cases]
    flat = [picture for pictures in wanted for picture in pictures]
    drawn = iter(parallel_map(_thumbnail, flat, processes=processes, what=what))
    figures: dict[int, list[dict[str, Any]]] = {}
    prefix = common_folder([row["image"] for row in manifest.rows])
    for (finding, case), pictures in zip(cases, wanted, strict=True):
        figures.setdefault(id(finding), []).append(
            {
                "pictures": [next(drawn) for _ in pictures],
                "names": [name.removeprefix(prefix) for name in case.names],
                "detail": case.detail,
            }
        )
    page = _template().render(
        manifest_name=manifest.path.name,
        images=len(manifest.rows),
        excluded=sum(map(is_excluded, manifest.rows)),
        version=__version__,
        deep=deep,
        folder=prefix,
        proposals=len(proposals),
        findings=[_section(finding, figures.get(id(finding), []), rows, prefix) for finding in findings],
    )
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / VALUES, report_values(manifest, findings))
    write_proposals(proposals, target / PROPOSALS)
    write_text(target / PAGE, page)
    return len(proposals)


def _section(finding: Finding, figures: list[dict[str, Any]], rows: Mapping[str, Row], prefix: str) -> dict[str, Any]:
    """Return what the template shows of one finding: pictures, or lines for cases that are no images."""
    lines = [case.describe(prefix) for case in finding.cases[:SHOWN] if not _pictured(case, rows)]
    return {
        "level": finding.level,
        "kind": finding.kind,
        "meaning": finding.meaning,
        "count": len(finding.cases),
        "figures": figures,
        "lines": lines,
        "hidden": max(0, len(finding.cases) - SHOWN),
    }


def _pictured(case: Case, rows: Mapping[str, Row]) -> bool:
    return any(name in rows for name in case.names)


def _pictures(manifest: Manifest, finding: Finding, case: Case, rows: Mapping[str, Row]) -> list[_Picture]:
    """Return the pictures of a case: its images, with masks where the finding is about masks."""
    pictures = []
    for number, name in enumerate(name for name in case.names if name in rows):
        image = manifest.resolve(rows[name], "image")
        mask = manifest.resolve(rows[name], "mask") if "mask" in finding.kind else None
        assert image is not None  # a manifest has no row without image
        pictures.append(_Picture(image, mask, case.boxes if number == 0 else ()))
    return pictures


def _thumbnail(picture: _Picture) -> str:
    """Return a small JPEG in base64; for what cannot be read, a picture that says so."""
    try:
        radiograph = read_radiograph(picture.image)
    except KerasOrthoError:
        return _encoded(_sign("cannot be read"))
    pixels = to_uint8(radiograph.pixels)
    scale = min(1.0, _SIDE / max(pixels.shape))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
    if picture.mask is not None:
        _draw_outline(canvas, picture.mask)
    for x, y, width, height in picture.boxes:
        corners = np.round(np.array([x, y, x + width, y + height]) * scale).astype(int).tolist()
        cv2.rectangle(canvas, tuple(corners[:2]), tuple(corners[2:]), _CYAN, 1)
    return _encoded(canvas)


def _draw_outline(canvas: np.ndarray, file: Path) -> None:
    """Draw the outline of a mask, of whatever size it is, in place; a mask that cannot be read has none."""
    try:
        mask = read_mask(file)
    except KerasOrthoError:
        return
    scaled = cv2.resize((mask > 0).astype(np.uint8), canvas.shape[1::-1], interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours(scaled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, _ORANGE, 1)


def _sign(text: str) -> np.ndarray:
    canvas = np.full((_SIDE * 3 // 4, _SIDE, 3), 90, np.uint8)
    cv2.putText(
        canvas, text, (20, canvas.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )
    return canvas


def _encoded(canvas: np.ndarray) -> str:
    # colours at full resolution, else lines of one pixel grow pale
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 78, *full])
    return base64.b64encode(data.tobytes()).decode("ascii")


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(
        resources.files("kerasortho.data.checking").joinpath("templates", "check.html").read_text("utf-8")
    )
