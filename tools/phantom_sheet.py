"""Draw a contact sheet of phantoms and real radiographs, shuffled and numbered, to see which can be told apart.

    python tools/phantom_sheet.py phantoms/manifest.csv fracatlas.csv docs/figures/phantoms-and-real.jpg

Prints which numbers are the phantoms, and the real files that are shown, for whom attribution may be owed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from kerasortho.data.manifest import Manifest, is_excluded, read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_radiograph

TILE, GAP = 230, 6


def main() -> None:
    """Read the arguments, write the sheet and print its key."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("phantoms", type=Path, help="manifest of `kerasortho data phantom`")
    parser.add_argument("real", type=Path, help="manifest of real radiographs")
    parser.add_argument("output", type=Path)
    parser.add_argument("--each", type=int, default=20, help="how many of either kind")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    phantoms, real = (
        choose(read_manifest(path, check_files=False), given.each, rng) for path in (given.phantoms, given.real)
    )
    files = [(file, True) for file in phantoms] + [(file, False) for file in real]
    order = rng.permutation(len(files))
    tiles = [tile(files[number][0], str(place)) for place, number in enumerate(order, 1)]
    given.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(given.output), sheet(tiles, given.columns), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print("phantoms:", ", ".join(str(place) for place, number in enumerate(order, 1) if files[number][1]))
    print("real:", ", ".join(f"{place} {files[n][0].name}" for place, n in enumerate(order, 1) if not files[n][1]))


def choose(manifest: Manifest, count: int, rng: np.random.Generator) -> list[Path]:
    """Return ``count`` readable images of the manifest, at random."""
    found: list[Path] = []
    for number in rng.permutation(len(manifest.rows)):
        file = manifest.resolve(manifest.rows[number], "image")
        if file is None or is_excluded(manifest.rows[number]) or len(found) == count:
            continue
        try:
            read_radiograph(file)
        except KerasOrthoError:
            continue
        found.append(file)
    return found


def tile(file: Path, number: str) -> np.ndarray:
    """Return (TILE + 16, TILE) uint8: the image, made small, under its number."""
    pixels = read_radiograph(file).pixels
    scale = TILE / max(pixels.shape)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.imdecode(cv2.imencode(".jpg", np.round(small * 255).astype(np.uint8))[1], cv2.IMREAD_GRAYSCALE)
    canvas = np.full((TILE + 16, TILE), 60, np.uint8)
    canvas[16 : 16 + small.shape[0], (TILE - small.shape[1]) // 2 :][:, : small.shape[1]] = small
    cv2.putText(canvas, number, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 255, 1, cv2.LINE_AA)
    return canvas


def sheet(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Return the tiles in rows of ``columns``."""
    blank = np.full_like(tiles[0], 60)
    padded = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [
        np.hstack([np.pad(t, GAP // 2, constant_values=60) for t in padded[k : k + columns]])
        for k in range(0, len(padded), columns)
    ]
    return np.vstack(rows)


if __name__ == "__main__":
    main()
