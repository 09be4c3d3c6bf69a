"""How a classifier bears images that differ as another hospital's do: the same test images, altered in one way each.

    python tools/robustness.py runs/limb-mobilenetv2 --images 160

Prints a Markdown table: accuracy on the unaltered images, and under each alteration with Wilson's 95 % interval. The
images are a seeded sample of the run's test split, reduced to at most 1200 pixels first, so that all is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np

from kerasortho.evaluation.inference import Predictor
from kerasortho.evaluation.intervals import wilson
from kerasortho.radiograph.preprocessing import preprocess
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.training.run import RunDirectory

LONGEST = 1200
BATCH = 16
Alteration = Callable[[np.ndarray], np.ndarray]


def turned(degrees: float) -> Alteration:
    """Rotate about the centre; what comes in from outside is black."""

    def alter(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape
        return cv2.warpAffine(pixels, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))

    return alter


def bordered(factor: float, level: float = 0.0) -> Alteration:
    """Put the image in the middle of a plate that is ``factor`` times as long and wide."""

    def alter(pixels: np.ndarray) -> np.ndarray:
        y, x = (round(side * (factor - 1) / 2) for side in pixels.shape)
        return cv2.copyMakeBorder(pixels, y, y, x, x, cv2.BORDER_CONSTANT, value=level)

    return alter


def cropped(share: float) -> Alteration:
    """Keep the middle ``share`` of height and width: tighter collimation, or a larger patient."""

    def alter(pixels: np.ndarray) -> np.ndarray:
        y, x = (round(side * (1 - share) / 2) for side in pixels.shape)
        return pixels[y : pixels.shape[0] - y, x : pixels.shape[1] - x]

    return alter


def equalised(clip: float) -> Alteration:
    """Contrast-limited adaptive histogram equalisation, as consoles' processing does in its own ways."""

    def alter(pixels: np.ndarray) -> np.ndarray:
        return cv2.createCLAHE(clip, (8, 8)).apply((255 * pixels).astype(np.uint8)) / np.float32(255)

    return alter


def reduced(longest: int) -> Alteration:
    """Reduce to ``longest`` pixels: a thumbnail."""
    return lambda pixels: cv2.resize(
        pixels, None, fx=(k := longest / max(pixels.shape)), fy=k, interpolation=cv2.INTER_AREA
    )


def compressed(quality: int) -> Alteration:
    """Store as JPEG of ``quality``."""

    def alter(pixels: np.ndarray) -> np.ndarray:
        file = cv2.imencode(".jpg", (255 * pixels).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) / np.float32(255)

    return alter


ALTERATIONS: dict[str, Alteration] = {
    "none": lambda p: p,
    "exposure: gamma 0.5": lambda p: p**0.5,
    "exposure: gamma 2": lambda p: p**2,
    "exposure: bright parts clipped (x 1.8)": lambda p: np.minimum(1.8 * p, 1),
    "inverted": lambda p: 1 - p,
    "processing: CLAHE, clip limit 3": equalised(3),
    "processing: CLAHE, clip limit 8": equalised(8),
    "rotated by 15 degrees": turned(15),
    "rotated by 45 degrees": turned(45),
    "rotated by 90 degrees": lambda p: np.rot90(p),
    "rotated by 180 degrees": lambda p: np.rot90(p, 2),
    "mirrored": lambda p: p[:, ::-1],
    "scale: on a plate 1.6 times as large": bordered(1.6),
    "scale: on a plate 2.5 times as large": bordered(2.5),
    "scale: middle 80 %": cropped(0.8),
    "scale: middle 60 %": cropped(0.6),
    "collimation: white border, 1.3 times": bordered(1.3, 1.0),
    "resolution: 96 pixels": reduced(96),
    "resolution: blur of 8 pixels": lambda p: cv2.GaussianBlur(p, (0, 0), 8),
    "noise: 0.05": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 0.05, p.shape), 0, 1),
    "JPEG quality 10": compressed(10),
}


def main() -> None:
    """Read, alter, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=160)
    arguments = parser.parse_args()
    run = RunDirectory(arguments.run)
    predictor = Predictor(run, batch_size=BATCH)
    test = run.samples().split("test")
    chosen = [test[i] for i in np.random.default_rng(0).permutation(len(test))[: arguments.images]]
    images = [shrunk(read_radiograph(sample.image).pixels) for sample in chosen]
    labels = np.array([sample.label for sample in chosen])
    print(f"{len(chosen)} test images\n\n| alteration | accuracy | 95 % (Wilson) |\n|---|---|---|")
    for name, alter in ALTERATIONS.items():
        right = int((answers(predictor, [alter(image) for image in images]) == labels).sum())
        low, high = wilson(right, len(labels)) or (0.0, 1.0)
        print(f"| {name} | {right / len(labels):.3f} | {low:.3f}-{high:.3f} |", flush=True)


def shrunk(pixels: np.ndarray) -> np.ndarray:
    """Return the image with its longer side reduced to ``LONGEST``."""
    factor = LONGEST / max(pixels.shape)
    return pixels if factor >= 1 else cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def answers(predictor: Predictor, images: list[np.ndarray]) -> np.ndarray:
    """Return the most probable class of each image."""
    inputs = np.stack([preprocess(np.asarray(image, np.float32), predictor.spec)[0] for image in images])
    return np.concatenate([predictor.ask(inputs[i : i + BATCH]).argmax(axis=1) for i in range(0, len(inputs), BATCH)])


if __name__ == "__main__":
    main()
