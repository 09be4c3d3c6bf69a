"""DICOM Segmentation objects (PS3.3 A.51): which frames mark what on which image, and their pixels.

Read with pydicom alone. Binary, fractional and label map segmentations are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasortho.data.importing.dicom_headers import (
    IDENTITIES,
    carries_identity,
    identities_of,
    read_attributes,
    referenced,
)
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.dicom import import_pydicom
from kerasortho.radiograph.dicom_values import integer_of, text_of, value_of
from kerasortho.radiograph.raster import check_pixel_count, write_png
from kerasortho.radiograph.reading import MAX_SIDE, default_max_pixels

SEGMENTATION_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})  # and label maps
_ATTRIBUTES = (
    "SOPClassUID SOPInstanceUID ContentDate ContentTime SegmentationType MaximumFractionalValue NumberOfFrames Rows "
    "Columns SegmentSequence SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ReferencedSeriesSequence"
)
_BACKGROUND = 0  # in a label map, a segment by itself


@dataclass(frozen=True, slots=True)
class SegmentFrame:
    """One frame: its place in the pixels, the segment it marks (None: any, by value), the images it was drawn on."""

    index: int
    segment: int | None
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What one SEG file says of itself.

    ``problem``: why it cannot be used, else ''. ``other``: it is no segmentation at all. ``segments``: labels by
    number. ``images``: the SOPInstanceUIDs it refers to. ``maximum``: of a fractional one, the value that means
    certainty, else 0. ``written``: ContentDate and ContentTime. ``shown``: the file's name for messages, ''
    where it carries an identity.
    """

    file: Path
    problem: str = ""
    other: bool = False
    instance: str = ""
    written: str = ""
    kind: str = ""
    maximum: int = 0
    shape: tuple[int, int] = (0, 0)
    segments: Mapping[int, str] = field(default_factory=dict)
    frames: tuple[SegmentFrame, ...] = ()
    images: frozenset[str] = frozenset()
    shown: str = ""

    def part(self, number: int, image: str) -> SegmentPart:
        """Return what segment ``number`` marks on the image with that SOPInstanceUID."""
        frames = tuple(f.index for f in self.frames if image in f.sources and f.segment in (None, number))
        return SegmentPart(
            self.file, self.kind, self.maximum, self.written, number, self.segments[number].casefold(), frames
        )


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """A segment of one SEG file on one image: the frames, by place; without any it marks nothing there."""

    file: Path
    kind: str
    maximum: int
    written: str
    number: int
    label: str
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MaskJob:
    """One mask to write: the parts that it is the union of, its size (H, W) and its file."""

    parts: tuple[SegmentPart, ...]
    shape: tuple[int, int]
    target: Path


def read_segmentation(file: Path) -> Segmentation:
    """Return what a file says of itself, without its pixels. Raises nothing for bad files: they have a problem."""
    try:
        dataset = read_attributes(file, [*IDENTITIES, *_ATTRIBUTES.split()])
        if text_of(dataset, "SOPClassUID") not in SEGMENTATION_CLASSES:
            return Segmentation(file, other=True)
        return _segmentation(file, dataset)
    except OSError as error:
        return Segmentation(file, problem=f"cannot be read ({error.strerror or type(error).__name__})", shown=file.name)
    except KerasOrthoError:
        return Segmentation(file, other=True)
    except Exception as error:  # pydicom raises all kinds of things on damaged files, and quotes their values
        return Segmentation(file, problem=f"damaged ({type(error).__name__})", shown=file.name)


def write_mask(job: MaskJob) -> tuple[int, str]:
    """Write one mask, zeros where nothing is marked; return how many pixels are marked, and why it failed, or ''."""
    mask = np.zeros(job.shape, bool)
    try:
        for part in job.parts:
            if part.frames:
                mask |= part_mask(part)
    except KerasOrthoError as error:
        return 0, str(error)
    write_png(job.target, mask)
    return int(mask.sum()), ""


def part_mask(part: SegmentPart) -> np.ndarray:
    """Return where a segment is marked, (H, W) bool: the union of its frames; of a label map, its number in them.

    A pixel of a fractional segmentation counts from half of its maximum on.
    Raises KerasOrthoError for frames that cannot be decoded.
    """
    pydicom = import_pydicom()
    try:
        dataset = pydicom.dcmread(part.file)
        united = np.zeros((integer_of(dataset, "Rows"), integer_of(dataset, "Columns")), bool)
        for index in part.frames:
            values = _frame_values(dataset, index)
            if part.kind == "LABELMAP":
                united |= values == part.number
            elif part.kind == "FRACTIONAL":
                united |= 2 * values.astype(np.int64) >= part.maximum
            else:
                united |= values != 0
    except Exception as error:  # decoders raise all kinds of things
        raise KerasOrthoError(f"its pixels cannot be decoded ({type(error).__name__})") from error
    return united


def _frame_values(dataset: Any, index: int) -> np.ndarray:
    """Return the stored values (H, W) of one frame.

    Frames of single bits that do not end with a byte are cut out of all frames: pydicom 3.0.2 cuts them out wrongly.
    """
    from pydicom.pixels import pixel_array

    rows, columns = integer_of(dataset, "Rows"), integer_of(dataset, "Columns")
    if integer_of(dataset, "BitsAllocated") == 1 and rows * columns % 8:
        return np.asarray(pixel_array(dataset)).reshape(-1, rows, columns)[index]
    return np.asarray(pixel_array(dataset, index=index))


def _segmentation(file: Path, dataset: Any) -> Segmentation:
    shape = integer_of(dataset, "Rows"), integer_of(dataset, "Columns")
    kind = (text_of(dataset, "SegmentationType") or "").upper()
    frames, problem = _frames(dataset, kind)
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        problem = f"its SegmentationType is {kind[:16] or 'missing'}"
    elif kind == "FRACTIONAL" and integer_of(dataset, "MaximumFractionalValue") < 1:
        problem = "it is fractional and has no MaximumFractionalValue"
    try:
        check_pixel_count(*shape, default_max_pixels(), MAX_SIDE)
    except KerasOrthoError as error:
        problem = str(error)
    segments = {
        integer_of(item, "SegmentNumber"): " ".join((text_of(item, "SegmentLabel") or "").split())
        for item in value_of(dataset, "SegmentSequence") or ()
    }
    if kind == "LABELMAP":
        segments.pop(_BACKGROUND, None)
    series = value_of(dataset, "ReferencedSeriesSequence") or ()
    listed = {uid for item in series for uid in referenced(item, "ReferencedInstanceSequence")}
    if len(listed) == 1:  # then frames need not say on which image they were drawn
        frames = [SegmentFrame(f.index, f.segment, f.sources or tuple(listed)) for f in frames]
    if not problem and any(not frame.sources for frame in frames):
        problem = "it does not say on which image its frames were drawn (DerivationImageSequence)"
    return Segmentation(
        file,
        problem=problem,
        instance=text_of(dataset, "SOPInstanceUID") or "",
        written=(text_of(dataset, "ContentDate") or "") + (text_of(dataset, "ContentTime") or ""),
        kind=kind,
        maximum=integer_of(dataset, "MaximumFractionalValue") if kind == "FRACTIONAL" else 0,
        shape=shape,
        segments=segments,
        frames=tuple(frames),
        images=frozenset(listed.union(*(frame.sources for frame in frames))),
        shown="" if carries_identity(file.name, identities_of(dataset)) else file.name,
    )


def _frames(dataset: Any, kind: str) -> tuple[list[SegmentFrame], str]:
    """Return the frames by the functional groups (PS3.3 C.7.6.16), and what is wrong with them, '' for nothing."""
    own = list(value_of(dataset, "PerFrameFunctionalGroupsSequence") or ())
    shared = next(iter(value_of(dataset, "SharedFunctionalGroupsSequence") or ()), None)
    number = integer_of(dataset, "NumberOfFrames", 1)
    if len(own) != number:
        return [], f"it describes {len(own)} frames and holds {number}"
    frames = []
    for index, groups in enumerate(own):
        segment = None
        if kind != "LABELMAP":
            found = _from_groups(groups, shared, "SegmentIdentificationSequence")
            segment = integer_of(found[0], "ReferencedSegmentNumber") if found else 0
            if not segment:
                return [], f"its frame {index + 1} does not say which segment it marks"
        derivations = _from_groups(groups, shared, "DerivationImageSequence")
        sources = [uid for item in derivations for uid in referenced(item, "SourceImageSequence")]
        frames.append(SegmentFrame(index, segment, tuple(dict.fromkeys(sources))))
    return frames, ""


def _from_groups(own: Any, shared: Any, keyword: str) -> list[Any]:
    """Return the items of a functional group: the frame's own, else those that all frames share."""
    return list(value_of(own, keyword) or (value_of(shared, keyword) if shared is not None else None) or ())
