"""A manifest of a folder of DICOM files: groups from PatientID, labels from what the headers say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from kerasortho.data.importing.dicom_copies import copy_images
from kerasortho.data.importing.dicom_headers import DicomHeader
from kerasortho.data.importing.dicom_radiographs import Radiographs, find_radiographs, header_cells
from kerasortho.data.importing.dicom_terms import limb_of
from kerasortho.data.importing.importers import Imported, PathLike, finish_import, new_output, require_folder
from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.data.manifest import Manifest, read_csv_rows, shorten
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import counted

_LABELS: dict[str, Callable[[DicomHeader], str]] = {
    "none": lambda header: "",
    "limb": lambda header: "" if header.contradictory else limb_of(header.body_part),
    "body-part": lambda header: "" if header.contradictory else header.body_part,
    "view": lambda header: header.view,
    "laterality": lambda header: header.laterality,
}
LABELS = tuple(_LABELS)
_SHOWN_VALUES = 20


def import_dicom(
    folder: PathLike,
    output: PathLike,
    *,
    label: str = "none",
    label_map: PathLike | None = None,
    without_id: str = "refuse",
    copy_to: PathLike | None = None,
    pseudonyms: Pseudonyms | None = None,
    overwrite: bool = False,
    processes: int = 1,
    what: str = "",
) -> Imported:
    """Write a manifest of the radiographs among a folder's DICOM files.

    Only headers are read, unless images are copied.

    Args:
        folder: DICOM files of any names, at any depth.
        output: the manifest to write.
        label: where labels come from: "none", "limb" (upper or lower, by a table of body parts), "body-part", "view",
            "laterality". What is unknown or not given stays empty.
        label_map: a CSV with the columns ``value`` and ``label``: the label for each value; others stay empty.
        without_id: what becomes of images without PatientID, see `find_radiographs`.
        copy_to: new or empty folder for 16-bit PNG copies under other names, which the manifest then names.
        pseudonyms: names patients and studies; None draws a random salt.
        overwrite: replace ``output`` if it exists.
        processes: how many processes read.
        what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: no radiograph there, images without PatientID, an unknown ``label``, a map that does not fit,
            or ``output`` exists.
    """
    root, target = require_folder(folder), new_output(output, overwrite)
    names = _read_label_map(label_map, label)
    if label not in LABELS:
        raise KerasOrthoError(
            f'--label must be one of {", ".join(LABELS)}. Received: "{label}".{did_you_mean(label, LABELS)}'
        )
    found = find_radiographs(
        root, target, pseudonyms or Pseudonyms(), without_id=without_id, processes=processes, what=what
    )
    rows, notes = header_cells(found, target), list(found.notes)
    if label != "none":
        labels, told = _labels(found, label, names, label_map)
        rows = [_with_label(row, text) for row, text in zip(rows, labels, strict=True)]
        notes += told
    if copy_to is not None:
        rows, told = copy_images(
            found, rows, Path(copy_to), target, processes=processes, what=what and "copying images"
        )
        notes = [note for note in notes if "--copy-to" not in note] + told
    return finish_import(target, tuple(rows[0]), rows, notes)


def _with_label(row: dict[str, str], text: str) -> dict[str, str]:
    """Return the row with a column ``label`` behind ``image``."""
    return {"image": row["image"], "label": text, **{name: cell for name, cell in row.items() if name != "image"}}


def _labels(
    found: Radiographs, label: str, names: Mapping[str, str] | None, label_map: PathLike | None
) -> tuple[list[str], list[str]]:
    """Return a label for every image, '' where there is none, and what is left without one, by value."""
    values = [_LABELS[label](header) for header in found.headers]
    labels = values if names is None else [names.get(_key(value), "") for value in values]
    used = [not reason for reason in found.excluded]
    told_as = [
        header.body_part if label == "limb" else value for header, value in zip(found.headers, values, strict=True)
    ]
    left = Counter(
        text or "(empty)" for text, given, is_used in zip(told_as, labels, used, strict=True) if is_used and not given
    )
    notes = []
    if left:
        listed = shorten((f"{value} {number}" for value, number in left.most_common()), _SHOWN_VALUES)
        advice = "" if names is not None else " Give them labels with --label body-part --map, if they are to be used."
        notes.append(
            f"{counted(left.total(), 'image has', 'images have')} no label, for want of a known value: {listed}."
            f"{advice if label in ('limb', 'body-part') else ''}"
        )
    if names is not None and (idle := sorted(set(names) - {_key(value) for value in values})):
        notes.append(f"Values of {label_map} that no image has: {shorten(idle)}.")
    return labels, notes


def _read_label_map(path: PathLike | None, label: str) -> dict[str, str] | None:
    if path is None:
        return None
    if label in ("none", "limb"):
        raise KerasOrthoError(
            f"--map gives labels to values: say of what, with --label body-part, view or laterality. It does "
            f"not go with --label {label}."
        )
    columns, rows = read_csv_rows(path)
    for name in ("value", "label"):
        Manifest(Path(path), columns, ()).require_column(name, wanted_by="--map")
    names: dict[str, str] = {}
    for row in rows:
        if names.setdefault(_key(row["value"]), row["label"]) != row["label"]:
            raise KerasOrthoError(f"{path} gives {row['value']} two labels. Keep one line a value.")
    return names


def _key(value: str) -> str:
    """Return a value as it is compared: capitals, one blank at most."""
    return re.sub(r"\s+", " ", value.strip().upper())
