"""Where lettering is burned into a radiograph: side markers (one L or R) and lines of text.

Letters stand out by their manner, not by their brightness alone: small, of one grey, sharp, on an even ground, with the
shape of a letter. Bones and implants are large, shaded, blurred, or of another shape. A line is three letters or more
of one height beside each other; a letter alone is a marker only if it is a clear L or R, or stands on a bright plate.
This is no reading machine: a lone 3, or a name in handwriting, is not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from kerasortho.data.blanking import Box
from kerasortho.data.checking.letters import letter_likeness

SIDES = "LR"
_WORK_SIDE = 1280  # px: longest side of the image that is searched
_TALLEST = 0.08  # of the longest side
_SHORTEST = 6  # px: of a capital letter
_SMALLEST = 4  # px: of a small letter, in a line
_STEPS = (18.0, 45.0, 100.0)  # grey levels of 255 by which letters differ from their ground
_CLEAN = 2.0  # contrast, in standard deviations of the ground
_SHARP = 0.3  # gradient at the outline, in contrasts a px; bones have 0.1 to 0.3, drawn letters 0.4 to 0.5
_LIKE = 0.5  # correlation with a drawn letter
_LINE_SHARE = 0.6  # of a line's shapes that are like letters; others may touch, or be punctuation marks
_LONE_SHARP, _LONE_SIZE = 0.4, 9  # px
_FEWEST_LETTERS = 3
_SHORT_LINE_LIKE = 0.65  # mean likeness of the letters of a line that has no more than these
_PLATE_CONTRAST, _PLATE_EXTENT = 100.0, 0.9  # grey levels; share of its bounding box that a marker's plate fills


@dataclass(frozen=True)
class Lettering:
    """Lettering in a ``box`` of px of the stored image; ``reading`` is "L", "R" or "", ``kind`` "marker" or "text"."""

    box: Box
    kind: str
    reading: str = ""


@dataclass(frozen=True)
class _Glyph:
    """A shape that may be a letter: box in the searched image, (height, width) bool mask, and what speaks for it."""

    box: Box
    mask: np.ndarray
    contrast: float
    clean: float
    sharp: float
    likeness: float = 0.0
    letter: str = ""


def find_lettering(pixels: np.ndarray) -> list[Lettering]:
    """Return the lettering on (H, W) float32 pixels in [0, 1], from top to bottom."""
    scale = min(1.0, _WORK_SIDE / max(pixels.shape))
    grey = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    grey = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
    if min(grey.shape) < 4 * _SHORTEST:
        return []
    found: list[Lettering] = []
    for image in (grey, 255 - grey):
        glyphs = _with_likeness(list(_glyphs(image)))
        if image is grey:
            found += _plates(grey, glyphs)
        sharp = _best_of_overlapping([glyph for glyph in glyphs if glyph.sharp >= _SHARP])
        found += _lines(sharp)
        found += [Lettering(glyph.box, "marker", glyph.letter) for glyph in sharp if _is_lone(glyph)]
    return [
        replace(item, box=_unscaled(item.box, scale, pixels.shape))
        for item in sorted(_without_inner(found), key=lambda item: (item.box[1], item.box[0]))
    ]


def _glyphs(grey: np.ndarray) -> Iterator[_Glyph]:
    """Yield the shapes of a (H, W) uint8 image that are small, bright, on an even ground, and not at its border."""
    reach = int(_TALLEST * max(grey.shape)) | 1
    hat = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_RECT, (reach, reach)))
    seen: set[Box] = set()
    for step in _STEPS:
        _, labels, stats, _ = cv2.connectedComponentsWithStats((hat > step).astype(np.uint8), connectivity=8)
        x, y, width, height, area = stats.T
        longest = np.maximum(width, height)
        fits = (longest >= _SMALLEST) & (longest <= reach) & (np.minimum(width, height) >= 2) & (area >= 8)
        fits &= (x > 0) & (y > 0) & (x + width < grey.shape[1]) & (y + height < grey.shape[0])
        fits[0] = False  # the ground
        for number in np.flatnonzero(fits):
            left, top, wide, high = (int(value) for value in stats[number, :4])
            if (left, top, wide, high) in seen:
                continue
            seen.add((left, top, wide, high))
            around = np.s_[max(0, top - 4) : top + high + 4, max(0, left - 4) : left + wide + 4]
            shape = (labels[around] == number).astype(np.uint8)
            contrast, clean = _standing_out(grey[around], shape)
            if clean >= _CLEAN:
                sharp = _sharpness(grey[around], shape) / max(contrast, 1.0)
                inside = labels[top : top + high, left : left + wide] == number
                yield _Glyph((left, top, wide, high), inside, contrast, clean, sharp)


def _standing_out(grey: np.ndarray, shape: np.ndarray) -> tuple[float, float]:
    """Return how much brighter a shape is than its ground, in grey levels and in standard deviations of the ground."""
    ground = cv2.dilate(shape, np.ones((9, 9), np.uint8)) > cv2.dilate(shape, np.ones((5, 5), np.uint8))
    values = grey[ground]
    if not values.size:
        return 0.0, 0.0
    contrast = float(np.median(grey[shape > 0])) - float(np.median(values))
    return contrast, contrast / (float(values.std()) + 2.0)


def _sharpness(grey: np.ndarray, shape: np.ndarray) -> float:
    """Return the median gradient, in grey levels a px, along the outline of a shape."""
    square = np.ones((3, 3), np.uint8)
    outline = cv2.dilate(shape, square) > cv2.erode(shape, square)
    values = grey.astype(np.float32)
    slope = cv2.magnitude(
        cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8)
    )
    return float(np.median(slope[outline]))


def _with_likeness(glyphs: Sequence[_Glyph]) -> list[_Glyph]:
    likeness, letters = letter_likeness([glyph.mask for glyph in glyphs])
    return [
        replace(glyph, likeness=float(score), letter=letter)
        for glyph, score, letter in zip(glyphs, likeness, letters, strict=True)
    ]


def _best_of_overlapping(glyphs: Sequence[_Glyph]) -> list[_Glyph]:
    """Return the glyphs that are most like letters of those that overlap, as the same one does at several steps."""
    if not glyphs:
        return []
    ordered = sorted(glyphs, key=lambda glyph: -glyph.likeness)
    x, y, width, height = np.array([glyph.box for glyph in ordered]).T
    area, free, kept = width * height, np.ones(len(ordered), bool), []
    for index, glyph in enumerate(ordered):
        if free[index]:
            kept.append(glyph)
            wide = np.minimum(x + width, x[index] + width[index]) - np.maximum(x, x[index])
            high = np.minimum(y + height, y[index] + height[index]) - np.maximum(y, y[index])
            free &= np.maximum(wide, 0) * np.maximum(high, 0) <= 0.3 * np.minimum(area, area[index])
    return kept


def _is_lone(glyph: _Glyph) -> bool:
    """Tell whether a glyph is a clear L or R, without other letters beside it."""
    return glyph.letter in SIDES and _is_clear(glyph)


def _is_clear(glyph: _Glyph) -> bool:
    """Tell whether a glyph is so much like a letter, so sharp and so large, that it can be nothing else."""
    like = (glyph.likeness >= 0.7 and glyph.clean >= 4) or glyph.likeness >= 0.8
    size = min(glyph.box[2:]) >= _SHORTEST and max(glyph.box[2:]) >= _LONE_SIZE
    return like and size and glyph.sharp >= _LONE_SHARP


def _plates(grey: np.ndarray, glyphs: Sequence[_Glyph]) -> Iterator[Lettering]:
    """Yield the bright rectangles in which a dark letter stands."""
    for glyph in glyphs:
        x, y, width, height = glyph.box
        if glyph.contrast < _PLATE_CONTRAST or min(width, height) < _SHORTEST:
            continue
        outlines, _ = cv2.findContours(glyph.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros(glyph.mask.shape, np.uint8), outlines, -1, 1, -1)
        if filled.mean() < _PLATE_EXTENT:
            continue
        values = grey[y : y + height, x : x + width]
        bright = np.median(values[glyph.mask])
        hole = cv2.erode(filled, np.ones((3, 3), np.uint8), borderValue=0) * (values < bright - _PLATE_CONTRAST / 2)
        left, top, wide, high = cv2.boundingRect(hole.astype(np.uint8))
        if high < 0.4 * height or wide < 3:
            continue
        likeness, letters = letter_likeness([hole[top : top + high, left : left + wide] > 0])
        if likeness[0] >= _LIKE:
            yield Lettering(glyph.box, "marker", letters[0] if letters[0] in SIDES else "")


def _lines(letters: Sequence[_Glyph]) -> Iterator[Lettering]:
    """Yield rows and columns of three letters or more (or two clear ones), of one size and contrast."""
    for across in (0, 1):  # text runs along x, or, turned by 90 degrees, along y
        for line in _chains(letters, across):
            like = sum(glyph.likeness >= _LIKE for glyph in line)
            pair = len(line) == 2 and all(map(_is_clear, line))
            sure = like > _FEWEST_LETTERS or np.mean([glyph.likeness for glyph in line]) >= _SHORT_LINE_LIKE
            if pair or (sure and like >= max(_FEWEST_LETTERS, _LINE_SHARE * len(line))):
                yield Lettering(_around([glyph.box for glyph in line]), "text")


def _chains(letters: Sequence[_Glyph], axis: int) -> list[list[_Glyph]]:
    """Return letters in chains along ``axis`` (0: x, 1: y): each begins less than a letter's height behind the last."""
    chains: list[list[_Glyph]] = []
    for glyph in sorted(letters, key=lambda item: item.box[axis]):
        for chain in chains:
            if _follows(chain[-1], glyph, axis):
                chain.append(glyph)
                break
        else:
            chains.append([glyph])
    return chains


def _follows(one: _Glyph, other: _Glyph, axis: int) -> bool:
    """Tell whether ``other`` may be the next letter (of the same word, or of the next one) in a line of text."""
    height, other_height = one.box[3 - axis], other.box[3 - axis]
    tall = max(height, other_height)
    gap = other.box[axis] - (one.box[axis] + one.box[2 + axis])
    level = abs(one.box[1 - axis] + height / 2 - other.box[1 - axis] - other_height / 2)
    alike = min(one.contrast, other.contrast) > 0.5 * max(one.contrast, other.contrast)
    return alike and min(height, other_height) > 0.5 * tall and level < 0.35 * tall and -0.2 * tall < gap < 1.5 * tall


def _around(boxes: Sequence[Box]) -> Box:
    x, y = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return x, y, max(box[0] + box[2] for box in boxes) - x, max(box[1] + box[3] for box in boxes) - y


def _without_inner(found: Sequence[Lettering]) -> list[Lettering]:
    """Return the lettering whose middle lies in no larger one that was kept."""
    kept: list[Lettering] = []
    for item in sorted(found, key=lambda item: -item.box[2] * item.box[3]):
        middle = item.box[0] + item.box[2] / 2, item.box[1] + item.box[3] / 2
        inside = (
            other.box[0] <= middle[0] <= other.box[0] + other.box[2]
            and other.box[1] <= middle[1] <= other.box[1] + other.box[3]
            for other in kept
        )
        if not any(inside):
            kept.append(item)
    return kept


def _unscaled(box: Box, scale: float, shape: tuple[int, ...]) -> Box:
    """Return a box of the searched image in px of the stored one, widened by 1 px of the former."""
    x, y = int(max(0, (box[0] - 1) / scale)), int(max(0, (box[1] - 1) / scale))
    right = min(shape[1], int(np.ceil((box[0] + box[2] + 1) / scale)))
    bottom = min(shape[0], int(np.ceil((box[1] + box[3] + 1) / scale)))
    return x, y, right - x, bottom - y
