"""Which training images an int8 model is calibrated on: all classes alike, and as many patients as there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

import numpy as np

from kerasortho.data.samples import Sample
from kerasortho.radiograph.reading import read_mask

IMAGES = 64
SEED = 0
LOOK = 8  # so many times the wanted images are looked at, at most, for a foreground


def choose_calibration(samples: Sequence[Sample], count: int = IMAGES) -> list[Sample]:
    """Return ``count`` of ``samples``, all of them if there are no more.

    Classes take turns, and within a class groups (patients, studies): whatever the count, no class and no patient has
    two images more than another, as long as they have images. Images with and without foreground are the classes of a
    segmentation; where either is rare, fewer of its images may be found. The same samples give the same choice.
    """
    generator = np.random.default_rng(SEED)
    drawn = [samples[i] for i in generator.permutation(len(samples))]
    classes = _parts((sample.label, sample) for sample in drawn)
    by_class = [_in_turn(_parts((sample.group, sample) for sample in part)) for part in classes]
    if len(by_class) == 1:
        return _by_foreground(by_class[0], count)
    return _in_turn(by_class)[:count]


def _by_foreground(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Let images with and without foreground take turns, as far as they are met; the order is kept otherwise."""
    found: tuple[list[Sample], list[Sample]] = ([], [])
    for sample in samples[: LOOK * count]:
        if sample.mask is None or min(map(len, found)) > count // 2:
            break
        found[bool(read_mask(sample.mask).any())].append(sample)
    taken = _in_turn((found[1], found[0]))
    return [*taken, *samples[len(taken) :]][:count]


def _parts(pairs: Iterable[tuple[object, Sample]]) -> list[list[Sample]]:
    """Return the samples by key, in the order of each key's first."""
    parts: dict[object, list[Sample]] = defaultdict(list)
    for key, sample in pairs:
        parts[key].append(sample)
    return list(parts.values())


def _in_turn(parts: Sequence[Sequence[Sample]]) -> list[Sample]:
    """Return the first of every part, then the second of every part, and so on."""
    return [sample for sample in chain.from_iterable(zip_longest(*parts)) if sample is not None]
