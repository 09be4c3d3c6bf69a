#!/usr/bin/env python
"""Writes, out of real radiographs, the kinds of files on which every way to a model must give one answer.

    python tools/parity_images.py radiographs/ parity/                one file of each kind for each of 3 radiographs
    kerasortho verify exported/bone-unet parity/                      the same answer by every way?

Kinds: small (320 pixels, 8-bit PNG), 1760x2140 and 2880x2304 (width x height, the middle of the image, the second one
usually upscaled; grey JPEG and 8-bit PNG), 16-bit PNG at the image's own size, JPEG stored in colour, and a JPEG whose
EXIF tells to rotate it. The files are numbered: neither names nor tags of the radiographs are taken over. They are
made of patients' radiographs all the same; keep them as you keep those.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.outputs import gather_files
from kerasortho.radiograph.reading import read_radiograph

SMALL = 320  # pixels of the longer side
SIZES = {"1760x2140": (1760, 2140), "2880x2304": (2880, 2304)}  # width, height
ROTATED = 6  # EXIF orientation: to be turned by 90 degrees clockwise for viewing
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


def main(words: list[str] | None = None) -> int:
    """Write the files that the command line asks for; 2 if no radiograph can be read or a file be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("radiographs", type=Path, help="folder of real radiographs, of any kind that kerasortho reads")
    parser.add_argument("output", type=Path, help="folder to write to; new, or empty")
    parser.add_argument("--count", type=int, default=3, help="radiographs to take, evenly from the folder (default: 3)")
    options = parser.parse_args(words)
    try:
        if options.output.exists() and any(options.output.iterdir()):
            raise KerasOrthoError(f"{options.output} is not empty. Name a new folder.")
        taken = choose(options.radiographs, options.count)
        options.output.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(taken, start=1):
            for name, data in kinds(pixels):
                file = options.output / f"{number:02d}-{name}"
                file.write_bytes(data)
                print(file)
    except (KerasOrthoError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def choose(folder: Path, count: int) -> list[np.ndarray]:
    """Return the pixels of ``count`` radiographs from all over ``folder``; what cannot be read is passed over."""
    files = sorted(gather_files([folder], None))
    step = max(1, len(files) // max(1, count))
    chosen: list[np.ndarray] = []
    for file in chain.from_iterable(files[start::step] for start in range(step)):
        if len(chosen) == count:
            break
        try:
            chosen.append(read_radiograph(file).pixels)
        except KerasOrthoError:
            continue
    if not chosen:
        raise KerasOrthoError(f"None of the {len(files)} files in {folder} can be read.")
    return chosen


def kinds(pixels: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Yield the ending of a name and the file, for every kind, of ``pixels`` (H, W) float32 in [0, 1]."""
    scale = SMALL / max(pixels.shape)
    width, height = (max(1, round(side * scale)) for side in reversed(pixels.shape))
    yield "small.png", encoded(".png", levels(resized(pixels, width, height), np.uint8))
    for name, size in SIZES.items():
        suffix = ".jpg" if name == "1760x2140" else ".png"
        yield name + suffix, encoded(suffix, levels(resized(middle(pixels, *size), *size), np.uint8))
    yield "16-bit.png", encoded(".png", levels(pixels, np.uint16))
    grey = levels(pixels, np.uint8)
    yield "colour.jpg", encoded(".jpg", cv2.merge([grey] * 3))
    yield "rotated.jpg", with_orientation(encoded(".jpg", grey), ROTATED)


def levels(pixels: np.ndarray, kind: type) -> np.ndarray:
    """Return the grey levels, all that ``kind`` (np.uint8, np.uint16) has."""
    return np.rint(np.clip(pixels, 0, 1) * np.iinfo(kind).max).astype(kind)


def middle(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the largest part in the middle that has the proportions of ``width`` to ``height``."""
    rows, columns = pixels.shape
    kept_rows = min(rows, max(1, round(columns * height / width)))
    kept_columns = min(columns, max(1, round(rows * width / height)))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    return pixels[top : top + kept_rows, left : left + kept_columns]


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return ``pixels`` in that size: averaged when shrunk, smooth when enlarged."""
    how = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=how)


def encoded(ending: str, image: np.ndarray) -> bytes:
    """Return ``image`` as a file of that kind."""
    return bytes(cv2.imencode(ending, image, QUALITY if ending == ".jpg" else [])[1])


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return ``jpeg`` with an EXIF block that holds its orientation and nothing else (TIFF 6.0, tag 274, SHORT)."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


if __name__ == "__main__":
    sys.exit(main())
