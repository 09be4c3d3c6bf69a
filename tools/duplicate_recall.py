"""How many transformed duplicates the dataset check finds: copies of real images, each altered in one known way.

    python tools/duplicate_recall.py FracAtlas/images --images 200

Prints a Markdown table: of the copies altered in each way, how many are found, by the quick search (near-duplicates) or
by the deep one, and how many pairs of different images are called duplicates. Copies are saved as JPEG.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from kerasortho.data.duplicates import Fingerprint, find_duplicates, fingerprint
from kerasortho.data.feature_search import search_candidates
from kerasortho.data.image_files import search_folder
from kerasortho.data.local_features import LocalFeatures, find_features
from kerasortho.data.parallel import parallel_map
from kerasortho.data.transformed_duplicates import ImagePair, confirm
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.intervals import wilson
from kerasortho.radiograph.reading import read_radiograph

QUALITY = 90
Alteration = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate about the centre, the frame enlarged so that all is seen; what comes in is black."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(height * sine + width * cosine), round(height * cosine + width * sine)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.clip(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC), 0, 1)


def a_few_degrees(rng: np.random.Generator) -> float:
    """Return 2 to 15 degrees either way."""
    return float(rng.choice((-1, 1)) * rng.uniform(2, 15))


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Resample by ``factor``."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.clip(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=method), 0, 1)


def cropped(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Keep a rectangle of ``share`` of the area, somewhere, of about the image's shape."""
    high = min(1.0, max(share, np.sqrt(share) * rng.uniform(0.9, 1.1)))
    height, width = round(pixels.shape[0] * high), round(pixels.shape[1] * share / high)
    y, x = rng.integers(0, pixels.shape[0] - height + 1), rng.integers(0, pixels.shape[1] - width + 1)
    return pixels[y : y + height, x : x + width]


def with_gamma(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Raise to a power of 0.4-0.7 or 1.5-2.5."""
    return pixels ** rng.choice((rng.uniform(0.4, 0.7), rng.uniform(1.5, 2.5)))


def windowed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clip the darkest 5-30 % and the brightest 1-15 % of the pixels."""
    low, high = np.percentile(pixels, (rng.uniform(5, 30), rng.uniform(85, 99)))
    return np.clip((pixels - low) / max(high - low, 1e-3), 0, 1)


def equalised(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation, clip limit 2-5."""
    grey = (pixels * 255).round().astype(np.uint8)
    return cv2.createCLAHE(float(rng.uniform(2, 5)), (8, 8)).apply(grey).astype(np.float32) / 255


ALTERATIONS: dict[str, Alteration] = {
    "rotated by 90 degrees": lambda pixels, rng: np.rot90(pixels, -1),
    "rotated by 180 degrees": lambda pixels, rng: np.rot90(pixels, 2),
    "rotated by 270 degrees": lambda pixels, rng: np.rot90(pixels, 1),
    "rotated by 2-15 degrees": lambda pixels, rng: turned(pixels, a_few_degrees(rng)),
    "mirrored left-right": lambda pixels, rng: pixels[:, ::-1],
    "mirrored, rotated by 90 degrees": lambda pixels, rng: np.rot90(pixels[:, ::-1]),
    "half the size": lambda pixels, rng: scaled(pixels, 0.5),
    "twice the size": lambda pixels, rng: scaled(pixels, 2),
    "gamma 0.4-2.5": with_gamma,
    "another window": windowed,
    "inverted": lambda pixels, rng: 1 - pixels,
    "CLAHE": equalised,
    "crop of 80 %": lambda pixels, rng: cropped(pixels, 0.8, rng),
    "crop of 60 %": lambda pixels, rng: cropped(pixels, 0.6, rng),
    "mirrored, crop of 70 %, gamma": lambda pixels, rng: with_gamma(cropped(pixels[:, ::-1], 0.7, rng), rng),
    "rotated by 90 degrees, inverted, half the size": lambda pixels, rng: scaled(np.rot90(1 - pixels), 0.5),
    "rotated by 2-15 degrees, crop of 70 %, another window": lambda pixels, rng: windowed(
        cropped(turned(pixels, a_few_degrees(rng)), 0.7, rng), rng
    ),
    "inverted, mirrored, rotated by 2-15 degrees, crop of 70 %, scaled by 0.7, CLAHE": lambda pixels, rng: equalised(
        scaled(cropped(turned(1 - pixels[:, ::-1], a_few_degrees(rng)), 0.7, rng), 0.7), rng
    ),
}


@dataclass(frozen=True)
class Copy:
    """A ``file`` to write: ``source`` altered; with no ``alteration`` nothing is written, and the source looked at."""

    source: Path
    alteration: str
    file: Path


def look(copy: Copy) -> tuple[LocalFeatures, Fingerprint] | None:
    """Write the copy and return what finds it; None for a source that cannot be read."""
    try:
        pixels = read_radiograph(copy.source).pixels
    except KerasOrthoError:
        return None
    if copy.alteration:
        rng = np.random.default_rng(zlib.crc32(f"{copy.source.name} {copy.alteration}".encode()))
        altered = ALTERATIONS[copy.alteration](pixels, rng)
        grey = (np.ascontiguousarray(altered) * 255).round().astype(np.uint8)
        cv2.imwrite(str(copy.file), grey, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        pixels = read_radiograph(copy.file).pixels
    return find_features(pixels), fingerprint(pixels)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    files = list(search_folder(options.folder).images)
    chosen = np.random.default_rng(options.seed).permutation(len(files))[: options.images]
    with TemporaryDirectory() as folder:
        sources = [files[number] for number in sorted(chosen)]
        seen = parallel_map(look, [Copy(file, "", file) for file in sources], processes=options.processes)
        sources = [file for file, item in zip(sources, seen, strict=True) if item is not None]
        originals = [item for item in seen if item is not None]
        print("| Alteration | Found | Share (95 % interval) | of these by the quick search | False pairs |")
        print("| --- | ---: | --- | ---: | ---: |")
        for number, name in enumerate(ALTERATIONS):
            print(_line(name, sources, originals, Path(folder) / str(number), options.processes), flush=True)


def _line(
    name: str, sources: list[Path], originals: list[tuple[LocalFeatures, Fingerprint]], folder: Path, processes: int
) -> str:
    """Return the row of the table for one alteration of all sources."""
    folder.mkdir()
    copies = [Copy(file, name, folder / f"{number}.jpg") for number, file in enumerate(sources)]
    altered = [item for item in parallel_map(look, copies, processes=processes) if item is not None]
    features, prints = zip(*originals, *altered, strict=True)
    count, files = len(sources), [*sources, *(copy.file for copy in copies)]
    near = {(pair.first, pair.second) for pair in find_duplicates(prints)}
    candidates = [item for item in search_candidates(features) if item.first < count <= item.second]
    pairs = [ImagePair(files[item.first], files[item.second], item) for item in candidates]
    deep = {(pair.first, pair.second) for pair in parallel_map(confirm, pairs, processes=processes) if pair is not None}
    wanted = {(number, count + number) for number in range(count)}
    found, quick = len(wanted & (near | deep)), len(wanted & near)
    alike = {(one % count, other % count) for one, other in near if one < other < count}  # real duplicates
    false = sum((one, other - count) not in alike and (other - count, one) not in alike for one, other in deep - wanted)
    low, high = wilson(found, count) or (0.0, 1.0)
    return f"| {name} | {found} of {count} | {found / count:.1%} ({low:.1%}-{high:.1%}) | {quick} | {false} |"


if __name__ == "__main__":
    main()
