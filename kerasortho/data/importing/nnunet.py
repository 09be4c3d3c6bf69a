"""The layout of a dataset of nnU-Net (version 2): dataset.json, imagesTr, labelsTr, imagesTs, splits_final.json.

The program: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
Nature Methods 18 (2021); its documentation/dataset_format.md describes the layout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasortho.data.importing.nifti import NIFTI_SUFFIXES
from kerasortho.data.manifest import shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.files import read_json
from kerasortho.words import counted, echo

RASTER_SUFFIXES = (".png", ".tif", ".bmp")
IGNORE = "ignore"


@dataclass(frozen=True)
class NnunetDataset:
    """What dataset.json says: the files' ending, the values of each label or region, and those of doubtful pixels."""

    ending: str
    labels: Mapping[str, tuple[int, ...]]
    ignore: tuple[int, ...]

    @property
    def values(self) -> frozenset[int]:
        """Return every value that a label file may hold."""
        return frozenset({0, *self.ignore, *(value for values in self.labels.values() for value in values)})


@dataclass(frozen=True)
class Case:
    """One case: its name, its image, its labels (None: it has none), and whether it is one of imagesTs."""

    name: str
    image: Path
    labels: Path | None
    test: bool


def read_dataset_json(root: Path) -> NnunetDataset:
    """Read the dataset.json of a dataset with one channel. Raises KerasOrthoError where it is missing or otherwise."""
    path = root / "dataset.json"
    try:
        content = read_json(path)
    except FileNotFoundError:
        within = next((f' Did you mean "{found.parent}"?' for found in sorted(root.glob("*/dataset.json"))), "")
        raise KerasOrthoError(f"{root} is no dataset of nnU-Net: dataset.json is missing.{within}") from None
    if "channel_names" not in content and "modality" in content:
        raise KerasOrthoError(
            f"{path} is of nnU-Net version 1. Convert the dataset with nnU-Net's nnUNetv2_convert_old_nnUNet_dataset."
        )
    for key in ("channel_names", "labels", "file_ending"):
        if key not in content:
            raise KerasOrthoError(f'{path} has no "{key}". nnU-Net needs it, too.')
    if "dataset" in content:
        raise KerasOrthoError(f'{path} names its files one by one (key "dataset"); they must be in imagesTr, labelsTr.')
    channels = content["channel_names"]
    if not isinstance(channels, (dict, list)) or len(channels) != 1:
        raise KerasOrthoError(f"{path}: a radiograph has one channel. channel_names: {echo(channels)}.")
    ending = str(content["file_ending"])
    known = (*RASTER_SUFFIXES, *NIFTI_SUFFIXES)
    if ending not in known:
        raise KerasOrthoError(f"{path}: file_ending must be one of {', '.join(known)}. Received: {echo(ending)}.")
    return _parse_labels(content["labels"], path, ending)


def find_cases(root: Path, ending: str, *, skip_unmatched: bool) -> tuple[list[Case], list[str]]:
    """Return the cases of a dataset, and what was noticed, in words.

    Raises KerasOrthoError for no images, several channels, labels without image, and images of imagesTr without labels
    unless these may be skipped.
    """
    images, strays = _files(root / "imagesTr", ending, channel=True)
    labels, others = _files(root / "labelsTr", ending)
    if not images:
        raise KerasOrthoError(f"{root / 'imagesTr'} has no images named like case_0000{ending}.")
    image_less, label_less = sorted(labels.keys() - images.keys()), sorted(images.keys() - labels.keys())
    if image_less:
        lacking = counted(len(image_less), "file of labelsTr has", "files of labelsTr have")
        raise KerasOrthoError(f"{lacking} no image in imagesTr: {shorten(image_less)}.")
    notes = []
    if label_less:
        lacking = counted(len(label_less), "image of imagesTr has", "images of imagesTr have")
        message = f"{lacking} no labels in labelsTr: {shorten(label_less)}."
        if not skip_unmatched:
            raise KerasOrthoError(f"{message} Leave them out with --skip-unmatched.")
        notes.append(f"{message} They are left out.")
    tests, more = _files(root / "imagesTs", ending, channel=True)
    test_labels, _ = _files(root / "labelsTs", ending)
    twice = sorted(tests.keys() & images.keys())
    if twice:
        raise KerasOrthoError(f"Cases of one name are in imagesTr and in imagesTs: {shorten(twice)}. Rename one.")
    cases = [Case(name, images[name], labels[name], False) for name in images if name in labels]
    cases += [Case(name, tests[name], test_labels.get(name), True) for name in tests]
    if tests:
        notes.append(f"imagesTs: {counted(len(tests), 'test image')}, {len(test_labels.keys() & tests)} with labels.")
    skipped = [file.name for file in (*strays, *others, *more)]
    if skipped:
        notes.append(f"Files skipped, being named otherwise: {len(skipped)} ({shorten(skipped)}).")
    return cases, notes


def read_splits(path: Path, cases: set[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return (split, fold) of cases as a splits_final.json tells, and what was noticed, in words.

    One entry tells train and val; of several each tells the val cases of a fold. Raises KerasOrthoError where a case
    is in the val of two folds, or in train and val of one.
    """
    try:
        folds = json.loads(path.read_bytes())
        listed = [({str(name) for name in fold["train"]}, {str(name) for name in fold["val"]}) for fold in folds]
    except OSError as error:
        raise KerasOrthoError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KerasOrthoError(f"{path} is no splits_final.json: {type(error).__name__} {error}.") from error
    found: dict[str, tuple[str, str]] = {}
    for number, (train, val) in enumerate(listed):
        if train & val:
            raise KerasOrthoError(f"{path}: fold {number} has cases in train and val: {shorten(sorted(train & val))}.")
        if len(listed) == 1:
            found |= dict.fromkeys(train, ("train", "")) | dict.fromkeys(val, ("val", ""))
            continue
        twice = sorted(val & found.keys())
        if twice:
            raise KerasOrthoError(f"{path}: cases are in the val of two folds: {shorten(twice)}. A manifest has one.")
        found |= dict.fromkeys(val, ("", str(number)))
    unknown, without = sorted(found.keys() - cases), sorted(cases - found.keys())
    notes = [f"{path.name} names cases that are not in imagesTr: {shorten(unknown)}."] if unknown else []
    if without:
        notes.append(f"{path.name} puts {counted(len(without), 'case')} nowhere: {shorten(without)}.")
    return found, notes


def _parse_labels(labels: Any, path: Path, ending: str) -> NnunetDataset:
    if not isinstance(labels, dict) or any(str(name).isdigit() for name in labels):
        raise KerasOrthoError(f"{path}: labels must give every name its value. Received: {echo(labels)}.")
    values: dict[str, tuple[int, ...]] = {}
    for name, value in labels.items():
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(str(item).isdigit() for item in listed):
            raise KerasOrthoError(f"{path}: label {echo(name)} must be a number, or several. Received: {echo(value)}.")
        values[str(name)] = tuple(int(item) for item in listed)
    if values.pop("background", (0,)) != (0,):
        raise KerasOrthoError(f"{path}: the label background must be 0.")
    return NnunetDataset(ending, values, values.pop(IGNORE, ()))


def _files(folder: Path, ending: str, *, channel: bool = False) -> tuple[dict[str, Path], list[Path]]:
    """Return the files of a folder by case, and those that are named otherwise; nothing where there is no folder."""
    pattern = re.compile(r"(?s)(.+)_(\d{4})" if channel else r"(?s)(.+)()")
    found: dict[str, Path] = {}
    others = []
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in entries:
        stem = file.name.removesuffix(ending)
        match = pattern.fullmatch(stem) if file.name.endswith(ending) and not file.name.startswith(".") else None
        if match is None:
            others += [] if file.name.startswith(".") else [file]
        elif channel and match[2] != "0000":
            raise KerasOrthoError(f"{file} is a second channel, and a radiograph has one.")
        else:
            found[match[1]] = file
    return found, others
