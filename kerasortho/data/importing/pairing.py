"""Images and masks that belong together because their files are named alike."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.image_files import describe_skipped, image_stem, require_folder, search_folder
from kerasortho.data.importing.mask_files import outside
from kerasortho.data.manifest import shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Pairs:
    """Files by their names without ending, every image with a mask; and what was noticed, in sentences."""

    image_of: Mapping[str, Path]
    mask_of: Mapping[str, Path]
    ignore_of: Mapping[str, Path]
    notes: tuple[str, ...]


def find_pairs(
    images: PathLike,
    masks: PathLike,
    ignore: PathLike | None = None,
    *,
    skip_unmatched: bool = False,
    written: Collection[Path] = (),
) -> Pairs:
    """Return the images and masks of two folders that share their names up to the ending.

    Args:
        images, masks, ignore: folders, searched with their sub-folders; masks may lie below the images.
        skip_unmatched: leave out images without a mask, instead of refusing.
        written: folders that an importer writes to; what lies in them is no image.

    Raises:
        KerasOrthoError: missing folders, images without mask or masks without image, names that are not unique.
    """
    _refuse_one_folder_twice({"--images": images, "--masks": masks, "--ignore": ignore})
    found = {
        name: search_folder(require_folder(folder))
        for name, folder in (("images", images), ("masks", masks), ("ignore", ignore))
        if folder is not None
    }
    mask_of = _by_stem(found["masks"].images, "masks")
    ignore_of = _by_stem(found["ignore"].images, "ignore masks") if "ignore" in found else {}
    drawn = {*mask_of.values(), *ignore_of.values()}
    candidates = [file for file in outside(found["images"].images, written) if file not in drawn]
    matched = [file for file in candidates if image_stem(file) in mask_of]
    image_of = _by_stem(matched, "images with a mask")
    notes = _unmatched_notes(candidates, image_of, mask_of, ignore_of, skip_unmatched)
    if not image_of:
        raise KerasOrthoError(f"No image in {images} has a mask of the same name in {masks}.")
    notes += describe_skipped(file for content in found.values() for file in content.others)
    return Pairs(image_of, mask_of, ignore_of, tuple(notes))


def _by_stem(files: Iterable[Path], what: str) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for file in files:
        stem = image_stem(file)
        if stem in by_stem:
            raise KerasOrthoError(
                f"Two {what} are named alike: {by_stem[stem]} and {file}. Names must differ before the ending."
            )
        by_stem[stem] = file
    return by_stem


def _unmatched_notes(
    candidates: list[Path], image_of: dict[str, Path], mask_of: dict[str, Path], ignore_of: dict[str, Path], skip: bool
) -> list[str]:
    """Say what has no partner; raise KerasOrthoError instead unless images without a mask may be skipped."""
    image_less = [mask_of[stem].name for stem in mask_of if stem not in image_of]
    if image_less:
        lacking = counted(len(image_less), "mask has", "masks have")
        raise KerasOrthoError(f"{lacking} no image of the same name: {shorten(image_less)}.")
    notes = []
    mask_less = [file.name for file in candidates if image_stem(file) not in mask_of]
    if mask_less:
        lacking = f"{len(mask_less)} of {counted(len(candidates), 'image')} {'has' if len(mask_less) == 1 else 'have'}"
        message = f"{lacking} no mask of the same name: {shorten(mask_less)}."
        if not skip:
            raise KerasOrthoError(
                f"{message} Leave them out with --skip-unmatched, or add masks (zeros where nothing is to be marked)."
            )
        notes.append(f"{message} They are left out.")
    idle = [ignore_of[stem].name for stem in ignore_of if stem not in image_of]
    if idle:
        notes.append(
            f"{counted(len(idle), 'ignore mask belongs', 'ignore masks belong')} to no image: {shorten(idle)}."
        )
    return notes


def _refuse_one_folder_twice(folders: Mapping[str, PathLike | None]) -> None:
    seen: dict[Path, str] = {}
    for option, folder in folders.items():
        if folder is None:
            continue
        first = seen.setdefault(Path(folder).resolve(), option)
        if first != option:
            raise KerasOrthoError(
                f"{first} and {option} name the same folder, {folder}. Keep the files in one of each."
            )
