"""Prepared samples: every image read and preprocessed once, then served by index to every epoch.

A sample is stored as 16-bit pixels and 8-bit targets at the model's input size. Where they are kept is chosen by an
estimate made before the first image is read: in memory, in memory-mapped files on disk (kept for the next run), or
nowhere (each epoch reads the images again). Memory stays flat in the number of images in the last two.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from kerasortho.data.blanking import format_boxes, read_blanked
from kerasortho.data.cache import COMPLETE, Place, lock_of, mark_used, partial_of
from kerasortho.data.samples import Sample
from kerasortho.errors import KerasOrthoError
from kerasortho.files import explain_os_error, locked, write_json
from kerasortho.machine import processor_count
from kerasortho.progress import Progress
from kerasortho.radiograph.preprocessing import Preprocessing, content_mask, preprocess, preprocess_mask
from kerasortho.radiograph.reading import read_mask

# Bits of a stored target: the mask; whether loss and scores count the pixel; whether it is image, not padding.
FOREGROUND, COUNTED, CONTENT = 1, 2, 4
_AT_ONCE = 1000  # images that wait to be prepared: all of them together would take memory
VERSION = 1  # raised when prepared files of before must not be used any more


class SampleStore:
    """The prepared samples of one split; ``store[i]`` is sample i as the model meets it, before augmentation."""

    def __init__(
        self,
        samples: Sequence[Sample],
        spec: Preprocessing,
        *,
        place: Place = "memory",
        folder: Path | None = None,
        classes: int = 1,
        workers: int = 0,
        label: str = "preparing images",
    ) -> None:
        """Prepare ``samples`` (all of them now, or none when ``place`` is "none").

        Raises KerasOrthoError naming the first file that cannot be read, or whose mask does not fit.
        """
        self.samples = list(samples)
        self.spec = spec
        self.classes = classes
        self._images: np.ndarray | None = None
        self._targets: np.ndarray | None = None
        if place == "memory":
            shape = (len(self), *spec.size)
            self._images = np.empty(shape, np.uint16)
            self._targets = np.empty(shape, np.uint8)
            self._fill(workers, label)
        elif place == "disk":
            assert folder is not None
            self._map(folder / self.key(), workers, label)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return sample ``index``: image (h, w) uint16, target (h, w) uint8 of FOREGROUND, COUNTED and CONTENT bits."""
        if self._images is None or self._targets is None:
            return prepare(self.samples[index], self.spec)
        return self._images[index], self._targets[index]

    def is_on_disk(self, folder: Path) -> bool:
        """Tell whether exactly these samples have been prepared in ``folder`` before."""
        return self._is_whole(folder / self.key())

    def key(self) -> str:
        """Return a name for the prepared files that changes with source files, boxes, specification or version."""
        digest = hashlib.sha256(json.dumps([VERSION, self.spec.to_dict()]).encode())
        for sample in self.samples:
            for file in (sample.image, sample.mask, sample.ignore):
                digest.update(_fingerprint(file).encode())
            if sample.blank:
                digest.update(f"blank {format_boxes(sample.blank)};".encode())
        return digest.hexdigest()[:32]

    def foreground_share(self) -> float:
        """Return the share of foreground among the counted pixels, from all samples (reads them if none are stored)."""
        foreground = counted = 0
        for index in range(len(self)):
            target = self[index][1]
            counted += int(np.count_nonzero(target & COUNTED))
            foreground += int(np.count_nonzero(_counted_foreground(target)))
        return foreground / max(counted, 1)

    @cached_property
    def has_foreground(self) -> np.ndarray:
        """(N,) bool: which samples have any counted foreground (reads them if none are stored)."""
        return np.array([bool(_counted_foreground(self[i][1]).any()) for i in range(len(self))])

    def _fill(self, workers: int, label: str) -> None:
        images, targets = self._images, self._targets
        assert images is not None and targets is not None

        def one(index: int) -> None:
            images[index], targets[index] = prepare(self.samples[index], self.spec)

        with ThreadPoolExecutor(workers or processor_count()) as pool, Progress(len(self), label) as progress:
            for begin in range(0, len(self), _AT_ONCE):
                for future in [pool.submit(one, i) for i in range(begin, min(begin + _AT_ONCE, len(self)))]:
                    try:
                        future.result()
                    except BaseException:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
                    progress.advance(1)

    def _map(self, folder: Path, workers: int, label: str) -> None:
        """Use the prepared files in ``folder``, or write them first; of several processes one writes, others wait."""
        lock = lock_of(folder)
        try:
            with locked(lock):
                self._write(folder, workers, label)
        except BlockingIOError:
            print(f"{label}: waiting for another process that prepares the same ones", file=sys.stderr, flush=True)
            with locked(lock, wait=True):
                self._write(folder, workers, label)
        self._open(folder, "r")
        mark_used(folder)

    def _write(self, folder: Path, workers: int, label: str) -> None:
        """Write the prepared files unless they are there: in a folder of another name, renamed when they are whole."""
        if self._is_whole(folder):
            return
        partial = partial_of(folder)
        try:
            for remains in (partial, folder):  # of a run that was killed, or damaged since
                shutil.rmtree(remains, ignore_errors=True)
            partial.mkdir(parents=True)
            self._reserve(partial)
            self._open(partial, "r+")
            self._fill(workers, label)
            self._close()  # Windows renames no folder with open files
            write_json(partial / COMPLETE, {"images": len(self), "size": list(self.spec.size)})
            os.rename(partial, folder)
        except OSError as error:
            raise explain_os_error(error, folder) from error
        finally:
            self._close()
            shutil.rmtree(partial, ignore_errors=True)

    def _files(self, folder: Path) -> list[tuple[Path, type[np.generic], int]]:
        """Return the files of images and targets: path, type of a pixel, size in bytes."""
        pixels = len(self) * self.spec.size[0] * self.spec.size[1]
        return [(folder / "images.u16", np.uint16, 2 * pixels), (folder / "targets.u8", np.uint8, pixels)]

    def _is_whole(self, folder: Path) -> bool:
        files = self._files(folder)
        return (folder / COMPLETE).is_file() and all(f.is_file() and f.stat().st_size == n for f, _, n in files)

    def _reserve(self, folder: Path) -> None:
        """Make the files at their full size: a disk too small is an error now, but a crash in a memory map."""
        for file, _, size in self._files(folder):
            with file.open("wb") as new:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(new.fileno(), 0, size)
                else:
                    new.truncate(size)

    def _open(self, folder: Path, mode: Literal["r", "r+"]) -> None:
        shape = (len(self), *self.spec.size)
        images, targets = self._files(folder)
        self._images = np.memmap(images[0], images[1], mode, shape=shape)
        self._targets = np.memmap(targets[0], targets[1], mode, shape=shape)

    def _close(self) -> None:
        for array in (self._images, self._targets):
            if isinstance(array, np.memmap):
                array.flush()
        self._images = self._targets = None


def _counted_foreground(target: np.ndarray) -> np.ndarray:
    return (target & (FOREGROUND | COUNTED)) == FOREGROUND | COUNTED


def prepare(sample: Sample, spec: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Read and preprocess one sample: image (h, w) uint16, target (h, w) uint8 of FOREGROUND, COUNTED and CONTENT bits.

    Padding and doubtful pixels are not counted. Raises KerasOrthoError naming the file at fault.
    """
    try:
        return _prepare(sample, spec)
    except KerasOrthoError as error:
        raise type(error)(f"{error} `kerasortho data check` on the manifest lists all such files.") from error


def _prepare(sample: Sample, spec: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    radiograph = read_blanked(sample.image, sample.blank)
    image, box = preprocess(radiograph.pixels, spec)
    pixels = np.round(image * 65535).astype(np.uint16)
    content = content_mask(box)
    target = np.uint8(CONTENT | COUNTED) * content
    shape = radiograph.pixels.shape
    if sample.mask is not None:
        target |= np.uint8(FOREGROUND) * preprocess_mask(read_fitting_mask(sample.mask, sample.image, shape), spec)
    if sample.ignore is not None:
        doubtful = preprocess_mask(read_fitting_mask(sample.ignore, sample.image, shape), spec)
        target[doubtful > 0] &= ~np.uint8(COUNTED)
    return pixels, target


def read_fitting_mask(mask_file: Path, image_file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the mask (H, W) uint8 {0, 1} of an image of ``shape``. Raises KerasOrthoError where the sizes differ."""
    mask = read_mask(mask_file)
    if mask.shape != shape:
        raise KerasOrthoError(
            f"The mask {mask_file} is {mask.shape[0]}x{mask.shape[1]} pixels (height x width), its image {image_file} "
            f"is {shape[0]}x{shape[1]}. Export the mask at the image's own size."
        )
    return mask


def _fingerprint(file: Path | None) -> str:
    if file is None:
        return "-"
    try:
        status = file.stat()
    except OSError as error:
        raise KerasOrthoError(f"Cannot read {file}: {error.strerror}.") from None
    return f"{file}|{status.st_size}|{status.st_mtime_ns};"
