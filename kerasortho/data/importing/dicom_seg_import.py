"""A manifest of DICOM images and the DICOM segmentations that refer to them, which become mask files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from kerasortho.data.image_files import search_folder
from kerasortho.data.importing.dicom_copies import copy_images
from kerasortho.data.importing.dicom_headers import DicomHeader
from kerasortho.data.importing.dicom_radiographs import Radiographs, find_radiographs, header_cells, name_files
from kerasortho.data.importing.dicom_seg import MaskJob, Segmentation, SegmentPart, read_segmentation, write_mask
from kerasortho.data.importing.importers import Imported, PathLike, cell_for, finish_import, new_output, require_folder
from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.data.manifest import shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.radiograph.dicom import import_pydicom
from kerasortho.words import counted

SEVERAL = ("refuse", "union", "newest")
_SHOWN_SEGMENTS = 20

Parts = dict[int, list[SegmentPart]]  # by the place of the image among the radiographs


def import_seg(
    images: PathLike,
    segs: PathLike,
    output: PathLike,
    *,
    segment: Sequence[str] = (),
    several: str = "refuse",
    skip_unmatched: bool = False,
    without_id: str = "refuse",
    copy_to: PathLike | None = None,
    pseudonyms: Pseudonyms | None = None,
    overwrite: bool = False,
    processes: int = 1,
    what: str = "",
) -> Imported:
    """Write a manifest of the images that DICOM SEG files refer to, and masks into ``<output name>-masks`` beside it.

    An image belongs to a segmentation that refers to its SOPInstanceUID. The chosen segments are united. A
    segmentation that refers to an image, and has a chosen segment but no frame of it there, marks nothing: zeros.

    Args:
        images: folder of DICOM images, of any names, at any depth.
        segs: folder of DICOM SEG files; it may be the same.
        output: the manifest to write.
        segment: labels or numbers of segments; empty is enough where all files have the same single one.
        several: what becomes of an image whose chosen segment is in several files. "refuse"; "union": all count;
            "newest": the one with the latest ContentDate and ContentTime.
        skip_unmatched: leave out images without a mask, instead of refusing.
        without_id: what becomes of images without PatientID, see `find_radiographs`.
        copy_to: new or empty folder for PNG copies of the images, see `copy_images`.
        pseudonyms: names patients and studies; None draws a random salt.
        overwrite: replace ``output`` if it exists.
        processes: how many processes read and write.
        what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: no segmentation or no image, segments not chosen or unknown, images without a mask, several
            segmentations of one image.
    """
    target, names = new_output(output, overwrite), pseudonyms or Pseudonyms()
    if several not in SEVERAL:
        raise KerasOrthoError(
            f'--several must be one of {", ".join(SEVERAL)}. Received: "{several}".{did_you_mean(several, SEVERAL)}'
        )
    image_folder = require_folder(images)
    segmentations, notes = _find_segmentations(require_folder(segs), processes, what)
    chosen = _choose_segments([item for item in segmentations if not item.problem], segment)
    found = find_radiographs(
        image_folder,
        target,
        names,
        without_id=without_id,
        marked=frozenset().union(*(item.images for item in segmentations)),
        processes=processes,
        what=what and "reading headers",
    )
    parts, told = _match(found, segmentations, chosen)
    parts = _settle_several(found, parts, several)
    notes += [*found.notes, *_settle_unmatched(found, parts, told, skip_unmatched)]
    found, parts = _keep(found, parts)
    written, told = _write_masks(found, parts, target, names, processes, what)
    notes += _settle_unmatched(found, written, told, skip_unmatched)
    found, parts = _keep(found, written)
    rows = [
        {
            "image": cells["image"],
            "mask": cell_for(_mask_file(found, place, target, names), target) if place in parts else "",
            **cells,
        }
        for place, cells in enumerate(header_cells(found, target))
    ]
    if copy_to is not None:
        rows, told = copy_images(
            found, rows, Path(copy_to), target, processes=processes, what=what and "copying images"
        )
        notes = [note for note in notes if "--copy-to" not in note] + told
    return finish_import(target, tuple(rows[0]), rows, notes)


def _find_segmentations(folder: Path, processes: int, what: str) -> tuple[list[Segmentation], list[str]]:
    """Return the SEG files below a folder, each object once, and notes."""
    import_pydicom()
    files = search_folder(folder).images
    read = parallel_map(read_segmentation, files, processes=processes, what=what and "reading segmentations")
    found = [item for item in read if not item.other]
    kept = list({item.instance or str(item.file): item for item in reversed(found)}.values())[::-1]
    if not kept:
        looked = counted(len(files), "image file")
        raise KerasOrthoError(f"{folder} holds no DICOM segmentation: none of {looked} there is a SEG object.")
    notes = []
    if len(kept) < len(found):
        notes.append(f"SEG files that repeat the SOPInstanceUID of another, left out: {len(found) - len(kept)}.")
    if fractional := sum(item.kind == "FRACTIONAL" for item in kept):
        notes.append(
            f"{counted(fractional, 'segmentation is', 'segmentations are')} fractional: a pixel counts from half of "
            "the MaximumFractionalValue on."
        )
    return kept, notes


def _choose_segments(segmentations: Sequence[Segmentation], wanted: Sequence[str]) -> dict[Path, tuple[int, ...]]:
    """Return the numbers of the chosen segments of each SEG file."""
    labels = Counter(label for item in segmentations for label in set(item.segments.values()))
    numbers = {str(number) for item in segmentations for number in item.segments}
    listed = shorten((f'"{label}" in {counted(n, "file")}' for label, n in labels.most_common()), _SHOWN_SEGMENTS)
    known = {label.casefold() for label in labels}
    if not wanted and len(known) > 1:
        raise KerasOrthoError(
            f"The segmentations hold several segments: {listed}. Choose what is to be marked with --segment, by label "
            "or by number, as often as needed."
        )
    for name in wanted:
        if name.casefold() not in known and name not in numbers:
            raise KerasOrthoError(
                f'No segmentation has a segment "{name}".{did_you_mean(name, labels)} There are: {listed}.'
            )
    by_label = {name.casefold() for name in wanted} if wanted else known
    by_number = {int(name) for name in wanted if name.casefold() not in known}
    return {
        item.file: tuple(
            number for number, label in item.segments.items() if label.casefold() in by_label or number in by_number
        )
        for item in segmentations
    }


def _match(
    found: Radiographs, segmentations: Sequence[Segmentation], chosen: dict[Path, tuple[int, ...]]
) -> tuple[Parts, list[str]]:
    """Return the parts of each image's mask, and notes on SEG files that gave none."""
    used = [place for place, reason in enumerate(found.excluded) if not reason and found.headers[place].instance]
    place_of = {found.headers[place].instance: place for place in used}
    parts: Parts = defaultdict(list)
    unusable: dict[str, list[Segmentation]] = defaultdict(list)
    for item in segmentations:
        places = sorted(place_of[uid] for uid in item.images if uid in place_of)
        problem = item.problem or _misfit(item, [found.headers[place] for place in places], place_of)
        if not problem and not chosen[item.file]:
            problem = "it has none of the chosen segments"
        if problem:
            unusable[problem].append(item)
            continue
        for place in places:
            parts[place] += [item.part(number, found.headers[place].instance) for number in chosen[item.file]]
    notes = [
        f"{counted(len(items), 'segmentation is', 'segmentations are')} not used, for {problem}: {name_files(items)}."
        for problem, items in unusable.items()
    ]
    return dict(parts), notes


def _misfit(item: Segmentation, headers: Sequence[DicomHeader], place_of: dict[str, int]) -> str:
    """Return why a segmentation does not fit the images it refers to, '' if it does."""
    if not headers:
        return "the image it refers to is not there"
    other = next((header for header in headers if _shape(header) != item.shape), None)
    if other is not None:
        return f"it has {item.shape[0]} x {item.shape[1]} pixels and its image {other.rows} x {other.columns}"
    if any(sum(uid in place_of for uid in frame.sources) > 1 for frame in item.frames):
        return "a frame of it refers to several images"
    return ""


def _settle_several(found: Radiographs, parts: Parts, several: str) -> Parts:
    """Return the parts that count where several SEG files have the same segment of an image."""
    if several == "union":
        return parts
    settled: Parts = defaultdict(list)
    disputed = []
    for place, given in parts.items():
        for label in {part.label: None for part in given}:
            rivals = [part for part in given if part.label == label]
            newest = max(part.written for part in rivals)
            kept = [part for part in rivals if part.written == newest] if several == "newest" and newest else rivals
            if len({part.file for part in kept}) > 1:
                disputed.append(found.headers[place])
            settled[place] += kept
    if disputed:
        undated = " ContentDate and ContentTime do not tell which is the newest." if several == "newest" else ""
        raise KerasOrthoError(
            f"{counted(len(disputed), 'image has', 'images have')} the same segment in several SEG files: "
            f"{name_files(disputed)}.{undated} Say which count with --several union or newest, or remove some."
        )
    return settled


def _settle_unmatched(found: Radiographs, parts: Parts, reasons: Sequence[str], skip: bool) -> list[str]:
    """Say which images have no mask, behind the ``reasons``; refuse them instead unless they may be skipped."""
    used = [place for place, reason in enumerate(found.excluded) if not reason]
    lacking = [found.headers[place] for place in used if place not in parts]
    if len(lacking) == len(used):
        raise KerasOrthoError(" ".join(["No image has a segmentation that can be used.", *reasons]))
    if not lacking:
        return list(reasons)
    some = f"{len(lacking)} of {counted(len(used), 'image')} {'has' if len(lacking) == 1 else 'have'} no mask"
    message = f"{some}: {name_files(lacking)}."
    if not skip:
        raise KerasOrthoError(
            " ".join([message, *reasons, "Leave them out with --skip-unmatched, or get what is missing."])
        )
    return [*reasons, f"{message} They are left out."]


def _write_masks(
    found: Radiographs, parts: Parts, target: Path, names: Pseudonyms, processes: int, what: str
) -> tuple[Parts, list[str]]:
    """Write the masks; return the parts of those that could be written, and what is to be said of the others."""
    places = list(parts)
    jobs = [
        MaskJob(tuple(parts[place]), _shape(found.headers[place]), _mask_file(found, place, target, names))
        for place in places
    ]
    results = parallel_map(write_mask, jobs, processes=processes, what=what and "writing masks")
    broken: dict[str, list[DicomHeader]] = defaultdict(list)
    empty = []
    for place, (marked, problem) in zip(places, results, strict=True):
        if problem:
            broken[problem].append(found.headers[place])
        elif not marked:
            empty.append(found.headers[place])
    notes = [f"Masks that cannot be made, for {problem}: {name_files(files)}." for problem, files in broken.items()]
    if empty:
        notes.append(f"{counted(len(empty), 'mask is', 'masks are')} empty: nothing is marked on {name_files(empty)}.")
    return {p: parts[p] for p, (_, problem) in zip(places, results, strict=True) if not problem}, notes


def _keep(found: Radiographs, parts: Parts) -> tuple[Radiographs, Parts]:
    """Return the images that have parts, or are excluded for a reason of their own, and the parts at the new places."""
    places = [place for place, reason in enumerate(found.excluded) if reason or place in parts]
    return found.only(places), {new: parts[old] for new, old in enumerate(places) if old in parts}


def _shape(header: DicomHeader) -> tuple[int, int]:
    return header.rows, header.columns


def _mask_file(found: Radiographs, place: int, target: Path, names: Pseudonyms) -> Path:
    name = f"{found.groups[place]}-{names.name(found.headers[place].instance, 'i')}.png"
    return target.parent / f"{target.stem}-masks" / name
