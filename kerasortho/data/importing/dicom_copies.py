"""Copies of DICOM images as PNG files under names that tell nothing of the patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasortho.data.importing.dicom_headers import DicomHeader
from kerasortho.data.importing.dicom_radiographs import Radiographs, name_files
from kerasortho.data.importing.importers import cell_for
from kerasortho.data.inspection import reason
from kerasortho.data.manifest import shorten
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.files import require_writable
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.words import counted

_WHITE = 65535


def copy_images(
    found: Radiographs,
    rows: Sequence[dict[str, str]],
    folder: Path,
    target: Path,
    *,
    processes: int = 1,
    what: str = "",
) -> tuple[list[dict[str, str]], list[str]]:
    """Write the images in use as 16-bit PNG into ``folder``; return their rows, naming the copies, and notes.

    The copies hold brightness as `read_radiograph` gives it (bone bright, [0, 1] times 65535), and no header at all.
    Excluded and unreadable images are in neither.

    Raises:
        KerasOrthoError: the folder is not empty or not writable, or no image can be read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KerasOrthoError(
            f"{folder} is not an empty folder. Name a new one with --copy-to: nothing is overwritten."
        )
    require_writable(folder)
    used = [place for place, excluded in enumerate(found.excluded) if not excluded]
    files = [folder / f"{name}.png" for name in numbered([found.groups[place] for place in used])]
    jobs = [(found.headers[place].file, file) for place, file in zip(used, files, strict=True)]
    problems = parallel_map(_copy, jobs, processes=processes, what=what)
    copied = [
        {**rows[place], "image": cell_for(file, target)}
        for place, file, problem in zip(used, files, problems, strict=True)
        if not problem
    ]
    notes = [f"Images copied to {folder}: {len(copied)}, as 16-bit PNG, without header."]
    if len(used) < len(rows):
        notes.append(f"Excluded images, not copied and not in the manifest: {len(rows) - len(used)}.")
    failed = [(found.headers[place], problem) for place, problem in zip(used, problems, strict=True) if problem]
    notes += _describe_failed(failed)
    if not copied:
        raise KerasOrthoError(f"No image could be read and copied. {' '.join(notes[1:])}")
    return copied, notes


def numbered(groups: Sequence[str]) -> list[str]:
    """Return a name for every image that tells its group and no more: ``g-0123456789-0001``."""
    seen: Counter[str] = Counter()
    names = []
    for group in groups:
        seen[group] += 1
        names.append(f"{group}-{seen[group]:04d}")
    return names


def _copy(job: tuple[Path, Path]) -> str:
    """Copy one image; return why it cannot be read, '' if it can."""
    file, target = job
    try:
        pixels = read_radiograph(file).pixels
    except KerasOrthoError as error:
        return reason(error, file)
    write_png(target, np.rint(pixels * np.float32(_WHITE)).astype(np.uint16))
    return ""


def _describe_failed(failed: Sequence[tuple[DicomHeader, str]]) -> list[str]:
    if not failed:
        return []
    reasons = shorten(f"{number} x {text}" for text, number in Counter(text for _, text in failed).most_common())
    files = name_files(header for header, _ in failed)
    return [f"Left out, for {counted(len(failed), 'image')} cannot be read: {files}. {reasons}"]
