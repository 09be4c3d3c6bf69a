"""Ask an exported model about radiographs, with Python, numpy, OpenCV and LiteRT alone.

    pip install -r requirements.txt
    python run.py image.png more/*.jpg --output masks/

Prints one JSON line a file: label and probabilities, or the mask that was written (PNG, 0 and 255, at the image's own
size). A file that cannot be used gets a line with "error". Exit code 0: every file has an answer; 1: some have none; 2:
none has, or the model cannot be used. Beside this file lie ``model.tflite`` and ``model.json``, which belong together.

PNG (8 or 16 bits) and JPEG, grey or grey stored as colour; EXIF orientation is not applied. Pixels and answers are
those of `kerasortho predict`, which reads more (DICOM, TIFF, BMP) and checks more: here the missing part of a JPEG that
lost data between two restart markers, or of a progressive one that ends early, may be taken for grey.

Research use only; not a medical device. Every answer must be checked by a qualified person.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

FORMAT = 1  # of model.json
SIGNATURE, INPUT = "tensor", "image"
SMALLEST_CONTRAST = 1 / 255  # less than one 8-bit grey level is noise
COLOUR_SPREAD = 4.0  # mean difference between channels, in 8-bit grey levels, that makes an image a colour image
MAX_SIDE = 65_535
DECIMALS = 6
PNG, JPEG, JPEG_END, JPEG_FILLER = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd9", b"\x35" * 512
GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
HALF_COLOUR = cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION


class EdgeError(Exception):
    """What the user should read: a file or a model that cannot be used, and why."""


# The model -----------------------------------------------------------------------------------------------------------


class Network:
    """The network in a .tflite file: preprocessed image in, probabilities out."""

    def __init__(self, content: bytes, threads: int = 2) -> None:
        """Load the bytes of a .tflite file. Raises EdgeError if they are none that kerasortho wrote."""
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
            (given,), (self.output,) = self._runner.get_input_details().items(), self._runner.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise EdgeError(f"Not a model that kerasortho has converted: {error}") from None
        self.input, details = given
        self.shape = tuple(int(side) for side in details["shape"])
        if self.input != INPUT or details["dtype"] != np.float32:
            raise EdgeError(f'The model takes {self.input!r}, {details["dtype"].__name__}, not "{INPUT}", float32.')

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the probabilities for ``image`` (h, w) float32 in [0, 1]: (C,), or (h, w) of the foreground."""
        answer = self._runner(image=np.ascontiguousarray(image[None, :, :, None], np.float32))[self.output]
        return np.array(answer[0, ..., 0] if answer.ndim == 4 else answer[0])


class EdgeModel:
    """A converted model with what it needs to know: labels, preprocessing, threshold."""

    def __init__(self, model: Path, metadata: Path, threads: int = 2) -> None:
        """Load a .tflite file and its JSON. Raises EdgeError unless the two belong together."""
        try:
            content, self.about = model.read_bytes(), json.loads(metadata.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EdgeError(f"The model cannot be read: {error}") from None
        if not isinstance(self.about, dict) or self.about.get("format") != FORMAT:
            raise EdgeError(f"{metadata} does not describe a converted model in format {FORMAT}.")
        if hashlib.sha256(content).hexdigest() != self.about["sha256"]:
            raise EdgeError(
                f"{model} and {metadata} do not belong together: labels and preprocessing would be another model's. "
                "Copy both again from the same place."
            )
        self.network = Network(content, threads)
        self.size = tuple(self.about["preprocessing"]["size"])
        if self.network.shape != (1, *self.size, 1):
            raise EdgeError(f"{model} takes inputs of shape {self.network.shape}, {metadata} says {self.size}.")

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Return (C,) of a classifier, or (H, W) of the foreground, for ``pixels`` (H, W) float32 in [0, 1]."""
        image, box = preprocess(pixels, self.about["preprocessing"])
        answer = self.network(image)
        return to_native(answer, box, pixels.shape) if answer.ndim == 2 else answer

    def answer(self, pixels: np.ndarray) -> tuple[dict[str, Any], np.ndarray | None]:
        """Return what to print, and the mask (H, W) uint8 of {0, 255} of a segmenter."""
        found = self.probabilities(pixels)
        if self.about["task"] == "classification":
            classes = self.about["classes"]
            shares = {name: round(float(p), DECIMALS) for name, p in zip(classes, found, strict=True)}
            return {"label": classes[int(found.argmax())], "probabilities": shares}, None
        mask = found >= np.float32(self.about["threshold"])
        fraction = round(float(mask.mean()), DECIMALS)
        facts = {"foreground_fraction": fraction, "threshold": self.about["threshold"], "size": list(mask.shape)}
        return facts, mask.astype(np.uint8) * np.uint8(255)


# From pixels to the network's input, and back ------------------------------------------------------------------------

Box = tuple[int, int, int, int]  # top, left, height, width of the image inside the network's input


def preprocess(pixels: np.ndarray, spec: dict[str, Any]) -> tuple[np.ndarray, Box]:
    """Fit ``pixels`` (H, W) in [0, 1] into the input (h, w) float32, and stretch its contrast between percentiles."""
    top, left, height, width = box = letterbox(pixels.shape, tuple(spec["size"]))
    content = resample(pixels, (height, width))
    if spec["intensity"] == "percentile":
        low, high = np.percentile(content.astype(np.float64), [spec["low"], spec["high"]]).astype(np.float32)
        content = (content - low) / np.maximum(high - low, np.float32(SMALLEST_CONTRAST))
    canvas = np.zeros(spec["size"], np.float32)
    canvas[top : top + height, left : left + width] = np.clip(content, 0.0, 1.0)
    return canvas, box


def to_native(probability: np.ndarray, box: Box, shape: tuple[int, ...]) -> np.ndarray:
    """Map the network's (h, w) back to the image's own ``shape`` (H, W)."""
    top, left, height, width = box
    return resample(probability[top : top + height, left : left + width], shape)


def letterbox(shape: tuple[int, ...], size: tuple[int, ...]) -> Box:
    """Return where an image of ``shape`` lies in ``size``: aspect ratio kept, centred, halves rounded up."""
    (rows, columns), (h, w) = shape, size
    if h * columns <= w * rows:
        height, width = h, max(1, (2 * columns * h + rows) // (2 * rows))
    else:
        height, width = max(1, (2 * rows * w + columns) // (2 * columns)), w
    return (h - height) // 2, (w - width) // 2, height, width


def resample(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resample (H, W) to ``shape``: rows, then columns."""
    rows, columns = resampling_matrix(image.shape[0], shape[0]), resampling_matrix(image.shape[1], shape[1])
    return rows @ image.astype(np.float32, copy=False) @ columns.T


@lru_cache(maxsize=32)
def resampling_matrix(source: int, target: int) -> np.ndarray:
    """Return the (target, source) weights of a triangle filter, widened when shrinking; every row sums to 1."""
    centres = (2 * np.arange(target, dtype=np.int64)[:, None] + 1) * source
    positions = (2 * np.arange(source, dtype=np.int64)[None, :] + 1) * target
    weights = np.maximum(2 * max(source, target) - np.abs(centres - positions), 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


# Files ---------------------------------------------------------------------------------------------------------------


def read_image(file: Path, max_pixels: int) -> np.ndarray:
    """Return the pixels of a PNG or JPEG file, (H, W) float32 in [0, 1]. Raises EdgeError with the reason if none."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise EdgeError(f"The file cannot be read: {error.strerror}.") from None
    if not data:
        raise EdgeError("The image is empty.")
    try:
        if data.startswith(PNG):
            return _read_png(data, max_pixels)
        if data.startswith(JPEG):
            return _read_jpeg(data, max_pixels)
    except (struct.error, IndexError, cv2.error, MemoryError):
        raise EdgeError("The image cannot be decoded: it is damaged or truncated. Get it again.") from None
    raise EdgeError("Neither PNG nor JPEG. Convert the file to 16-bit PNG (`kerasortho` reads DICOM, TIFF and BMP).")


def _read_png(data: bytes, max_pixels: int) -> np.ndarray:
    width, height = struct.unpack_from(">II", data, 16)
    _check_size(height, width, max_pixels)
    place, kind = 8, b""
    while kind != b"IEND":  # every chunk must be there, with the right checksum
        length, kind = struct.unpack_from(">I4s", data, place)
        body, checksum = data[place + 8 : place + 8 + length], struct.unpack_from(">I", data, place + 8 + length)[0]
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            raise EdgeError("The PNG file is damaged: a checksum is wrong. Get it again.")
        place += 12 + length
    image = _decode(data, AS_STORED)
    if image.ndim == 3 and image.shape[2] == 4:
        if image[..., 3].min() < np.iinfo(image.dtype).max:
            raise EdgeError("The image is partly transparent. Save it as greyscale without an alpha channel.")
        image = np.ascontiguousarray(image[..., :3])
    if image.ndim == 3:
        _refuse_colour(image)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def _read_jpeg(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode the luminance. A decoder fills missing data with grey, so it is asked again with a filler for the end."""
    place = 2
    while not (0xC0 <= data[place + 1] <= 0xCF and data[place + 1] not in (0xC4, 0xC8, 0xCC)):  # to the frame header
        if data[place] != 0xFF:
            raise EdgeError("The JPEG file is damaged. Get it again.")
        place += 1 if data[place + 1] == 0xFF else 2 + struct.unpack_from(">H", data, place + 2)[0]
    bits, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
    _check_size(height, width, max_pixels)
    if bits != 8 or channels not in (1, 3):
        raise EdgeError("This kind of JPEG has no grey scale of its own (CMYK, or not 8 bits). Save it as grey PNG.")
    end = data.rfind(JPEG_END)
    grey = _decode(data[:end] + JPEG_END, GREY) if end > 0 else None
    progressive = data[place + 1] in (0xC2, 0xC6, 0xCA, 0xCE)
    if grey is None or not (progressive or np.array_equal(_decode(data[:end] + JPEG_FILLER, GREY), grey)):
        raise EdgeError("The JPEG file is truncated: image data is missing. Get it again.")
    if channels == 3:
        _refuse_colour(_decode(data, HALF_COLOUR))
    return grey.astype(np.float32) / np.float32(255)


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if min(height, width) < 1 or max(height, width) > MAX_SIDE or height * width > max_pixels:
        raise EdgeError(f"The image has {height} x {width} pixels: at most {max_pixels}, {MAX_SIDE} a side, and not 0.")


def _decode(data: bytes, how: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise EdgeError("The image cannot be decoded: it is damaged or truncated. Get it again.")
    return np.asarray(image)


def _refuse_colour(image: np.ndarray) -> None:
    blue, green, red = cv2.split(image)
    spread = cv2.subtract(cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red))
    if float(cv2.mean(spread)[0]) > COLOUR_SPREAD * np.iinfo(image.dtype).max / 255:
        raise EdgeError("This is a colour image, and one channel of grey is needed. Save it as greyscale.")


# The command ---------------------------------------------------------------------------------------------------------


def main(words: list[str] | None = None) -> int:
    """Answer for the files that the command line names; see the top of this file."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Ask the model beside this file about radiographs.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="PNG or JPEG files")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="folder for masks (default: here)")
    parser.add_argument("--model", type=Path, default=here / "model.tflite", help="another model, with its JSON beside")
    parser.add_argument("--threads", type=int, default=2, help="threads that compute (default: 2)")
    given = parser.parse_args(words)
    try:
        model = EdgeModel(given.model, given.model.with_suffix(".json"), given.threads)
    except EdgeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    names: set[str] = set()
    failed = [not _report(model, file, given.output, names) for file in given.files]
    return 2 if all(failed) else int(any(failed))


def _report(model: EdgeModel, file: Path, output: Path, names: set[str]) -> bool:
    try:
        facts, mask = model.answer(read_image(file, model.about["max_pixels"]))
        if mask is not None:
            facts = {"mask": str(_write_mask(mask, output, file.stem, names)), **facts}
    except EdgeError as error:
        facts = {"error": str(error)}
    print(json.dumps({"file": str(file), **facts}, ensure_ascii=False), flush=True)
    return "error" not in facts


def _write_mask(mask: np.ndarray, folder: Path, stem: str, names: set[str]) -> Path:
    """Write the mask as STEM_mask.png; two files of one stem in one call get two names."""
    name, number = stem, 1
    while name.lower() in names:
        number += 1
        name = f"{stem}-{number}"
    names.add(name.lower())
    path = folder / f"{name}_mask.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    except OSError as error:
        raise EdgeError(f"The mask cannot be written: {error}.") from None
    return path


if __name__ == "__main__":
    sys.exit(main())
