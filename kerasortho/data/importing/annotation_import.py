"""From annotated images to a manifest with masks: what the importers of annotation files have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.image_files import describe_skipped, require_folder, search_folder
from kerasortho.data.importing.annotated_images import AnnotatedImage, View, draw_masks
from kerasortho.data.importing.importers import Imported, PathLike, cell_for, finish_import, new_output
from kerasortho.data.importing.mask_files import new_folder, outside, png_names
from kerasortho.data.importing.named_files import NamedFiles
from kerasortho.data.inspection import reason
from kerasortho.data.manifest import shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.words import counted


@dataclass(frozen=True)
class AnnotationOptions:
    """What an annotation file does not tell, and its user must.

    empty_masks: images without annotation get masks of zeros: nothing is to be marked in them.
    skip_unannotated: they are left out instead. With neither they are refused, for nobody may have looked at them.
    all_files: images that the annotation file does not list count as images without annotation, and are not left out.
    view: whether images with an EXIF orientation were annotated as "stored" or "upright"; None: what their size tells.
    overwrite: replace the manifest and the masks beside it.
    processes: how many processes read images and draw masks. what: a word for the progress; empty for none.
    """

    empty_masks: bool = False
    skip_unannotated: bool = False
    all_files: bool = False
    view: View | None = None
    overwrite: bool = False
    processes: int = 1
    what: str = ""


ASK = AnnotationOptions()
"""Everything that an annotation file does not tell is refused, with what to say."""


@dataclass(frozen=True)
class _Job:
    """One image to be read: its file, what is marked on it, and the files of its masks."""

    file: Path
    image: AnnotatedImage
    mask: Path
    ignore: Path
    view: View | None


@dataclass(frozen=True)
class _Done:
    """What came of one image: why it is left out, what was noticed ('' for nothing), whether pixels are doubtful."""

    problem: str = ""
    remark: str = ""
    doubtful: bool = False


def import_annotated(
    annotated: Sequence[AnnotatedImage],
    images: PathLike,
    output: PathLike,
    *,
    source: PathLike,
    options: AnnotationOptions,
    notes: Iterable[str] = (),
) -> Imported:
    """Write a manifest of annotated images, and their masks into ``<output name>-masks`` beside it.

    Images whose annotations do not fit them, and unreadable ones, get a reason in column exclude and no mask.

    Args:
        annotated: what is marked on which image.
        images: the folder of the images, searched with its sub-folders.
        output: the manifest to write.
        source: the annotation file, for messages.
        options: see `AnnotationOptions`.
        notes: what was noticed before.

    Raises:
        KerasOrthoError: no images, names that fit several files, images without annotation (see the options), no image
            that can be used, or ``output`` or its masks exist.
    """
    if options.empty_masks and options.skip_unannotated:
        raise KerasOrthoError("--empty-masks and --skip-unannotated exclude each other. Choose one.")
    root, target = require_folder(images), new_output(output, options.overwrite)
    masks, ignore = (new_folder(target, kind, options.overwrite) for kind in ("masks", "ignore"))
    content = search_folder(root)
    files = outside(content.images, (masks, ignore))
    if not files:
        raise KerasOrthoError(f"The folder {root} has no images. Name the folder of the images that {source} lists.")
    found, told = _find_files(annotated, NamedFiles(root, files), files, source, options)
    if not found:
        raise KerasOrthoError(f"None of the images that {source} lists is in {root}. {' '.join(told)}".rstrip())
    mask_of, ignore_of = png_names(list(found), root, masks), png_names(list(found), root, ignore)
    jobs = [_Job(file, image, mask_of[file], ignore_of[file], options.view) for file, image in found.items()]
    done = parallel_map(_draw, jobs, processes=options.processes, what=options.what)
    if all(result.problem for result in done):
        raise KerasOrthoError(f"No image can be used with {source}. {jobs[0].file.name}: {done[0].problem}.")
    rows = [_row(job, result, target) for job, result in zip(jobs, done, strict=True)]
    columns = ["image", "mask", *(["ignore"] if any(result.doubtful for result in done) else []), "exclude"]
    told = [*notes, *told, *describe_skipped(content.others), *_describe(dict(zip(found, done, strict=True)))]
    return finish_import(target, columns, rows, told)


def _find_files(
    annotated: Sequence[AnnotatedImage],
    named: NamedFiles,
    files: Sequence[Path],
    source: PathLike,
    options: AnnotationOptions,
) -> tuple[dict[Path, AnnotatedImage], list[str]]:
    """Return the images to work on by file, in the order of ``files``, and what is missing, in words."""
    by_file: dict[Path, AnnotatedImage] = {}
    missing = []
    for image in annotated:
        file = named.find(image.name)
        if file is None:
            missing.append(image.name)
        elif file in by_file:
            raise KerasOrthoError(f"{source} lists {file} twice: as {by_file[file].name} and as {image.name}.")
        else:
            by_file[file] = image
    told = []
    if missing:
        told.append(f"Images that {source} lists, but without a file below {named.root}, left out: {_few(missing)}.")
    changed = [f.name for f, image in by_file.items() if image.file_bytes not in (None, f.stat().st_size)]
    if changed:
        told.append(f"Files of another size in bytes than when they were annotated, perhaps changed: {_few(changed)}.")
    unlisted = [file for file in files if file not in by_file]
    if unlisted and options.all_files:
        by_file |= {file: AnnotatedImage(file.name, None) for file in unlisted}
    elif unlisted:
        told.append(
            f"Image files that {source} does not list, left out: {_few(file.name for file in unlisted)}. "
            "Take them in with --all-files."
        )
    empty = [file for file in files if file in by_file and not by_file[file].marked]
    if empty and not (options.empty_masks or options.skip_unannotated):
        raise KerasOrthoError(
            f"{source} marks nothing in {len(empty)} of {counted(len(by_file), 'image')}: "
            f"{shorten(file.name for file in empty)}. If there is nothing to be marked, give them masks of zeros with "
            "--empty-masks; if nobody may have looked, leave them out with --skip-unannotated."
        )
    if empty and options.skip_unannotated:
        told.append(f"Images without annotation, left out: {_few(file.name for file in empty)}.")
        return {file: by_file[file] for file in files if file in by_file and by_file[file].marked}, told
    return {file: by_file[file] for file in files if file in by_file}, told


def _draw(job: _Job) -> _Done:
    """Read one image and write its masks."""
    try:
        radiograph = read_radiograph(job.file)
    except KerasOrthoError as error:
        return _Done(problem=f"unreadable: {reason(error, job.file)}")
    height, width = radiograph.pixels.shape
    orientation = int(radiograph.tags.get("exif_orientation") or 1)
    masks = draw_masks(job.image, (height, width), orientation, job.view)
    if masks.problem:
        return _Done(problem=f"annotation: {masks.problem}")
    write_png(job.mask, masks.mask)
    doubtful = bool(masks.ignore.any())
    if doubtful:
        write_png(job.ignore, masks.ignore)
    return _Done(remark=masks.remark, doubtful=doubtful)


def _row(job: _Job, result: _Done, target: Path) -> dict[str, str]:
    return {
        "image": cell_for(job.file, target),
        "mask": "" if result.problem else cell_for(job.mask, target),
        "ignore": cell_for(job.ignore, target) if result.doubtful else "",
        "exclude": result.problem,
    }


def _describe(results: Mapping[Path, _Done]) -> list[str]:
    """Return sentences on the images that are excluded, by reason, and on what was noticed."""
    by_problem, by_remark = defaultdict(list), defaultdict(list)
    for file, result in results.items():
        if result.problem:
            by_problem[result.problem].append(file.name)
        if result.remark:
            by_remark[result.remark].append(file.name)
    notes = [f"Excluded, {problem.rstrip('.')}: {_few(names)}." for problem, names in by_problem.items()]
    if any("EXIF" in problem for problem in by_problem):
        notes.append("Tell with --view stored or --view upright how images with an EXIF orientation were annotated.")
    return notes + [f"Noticed, {remark}: {_few(names)}." for remark, names in by_remark.items()]


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return f"{len(listed)} ({shorten(listed)})"
