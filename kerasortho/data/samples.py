"""From a manifest's rows to the samples of a task: which images train, validate and test; which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.config import DataConfig, Task
from kerasortho.data.blanking import Box, parse_boxes
from kerasortho.data.grouping import group_of
from kerasortho.data.manifest import SPLITS, Manifest, read_manifest
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import counted


@dataclass(frozen=True)
class Sample:
    """One image of a task, with its truth."""

    name: str  # the image as the manifest writes it: the key in every table
    image: Path
    mask: Path | None
    ignore: Path | None
    label: int  # index into the classes; -1 where the task has none
    group: str
    split: str
    row: Mapping[str, str]
    blank: tuple[Box, ...] = ()  # what of the image is blanked before it is preprocessed


@dataclass(frozen=True)
class SampleSet:
    """All samples of a task by split, and what was left out: reason -> number of images."""

    manifest: Manifest
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    left_out: Mapping[str, int]

    def split(self, name: str) -> list[Sample]:
        """Return the samples of one split ("train", "val", "test", or "all")."""
        if name != "all" and name not in SPLITS:
            raise KerasOrthoError(f'There is no split "{name}".{did_you_mean(name, SPLITS)} Use train, val, test, all.')
        return [s for s in self.samples if name in ("all", s.split)]


def load_samples(data: DataConfig, task: Task, classes: Sequence[str] | None = None) -> SampleSet:
    """Read the manifest of ``data`` and return its samples for ``task``.

    Left out, and counted: rows with an ``exclude`` reason, rows that ``data.where`` does not select, rows in no split,
    rows without a label (classification) or without a mask (segmentation). ``classes`` fixes the classes of a model
    that exists; otherwise they come from ``data.classes`` or from the training rows.
    Raises KerasOrthoError for columns that are missing, a fold that does not exist, no image to train on or to validate
    on, a single class, or a group that crosses splits.
    """
    if not Path(data.manifest).is_file():
        raise KerasOrthoError(
            f"data.manifest: there is no file {data.manifest}. Such paths are taken from the current folder, "
            f"{Path.cwd()}. `kerasortho data import` writes a manifest."
        )
    manifest = read_manifest(data.manifest)
    _require_columns(manifest, data, task)
    left_out: Counter[str] = Counter()
    folds = 1 + max((int(row["fold"]) for row in manifest.rows if row.get("fold")), default=-1)
    if data.fold is not None and data.fold >= folds:
        raise KerasOrthoError(
            f"data.fold is {data.fold}, but {manifest.path} has {counted(folds, 'fold')}, counted from 0."
        )
    kept = [(row, split) for row in manifest.rows if (split := usable_split(row, data, folds, task, left_out))]
    chosen = tuple(classes or data.classes or _classes_of(kept, data, task))
    samples = make_samples(manifest, kept, data, task, chosen, left_out)
    labels = sorted({row[data.label] for row, _ in kept}) if task == "classification" else []
    _check(samples, chosen, task, manifest, labels)
    return SampleSet(manifest, chosen, tuple(samples), dict(left_out))


def used_columns(data: DataConfig, task: Task) -> list[str]:
    """Return the columns of a manifest that decide the samples of ``task``, present or not."""
    truth = [data.label] if task == "classification" else [data.mask, data.ignore]
    split = "split" if data.fold is None else "fold"
    balance = [data.balance] if data.balance else []
    return list(dict.fromkeys(["image", *truth, "group", split, "exclude", data.blank, *data.where, *balance]))


def _require_columns(manifest: Manifest, data: DataConfig, task: Task) -> None:
    truth = ("data.label", data.label) if task == "classification" else ("data.mask", data.mask)
    wanted = [truth, *(("data.where", column) for column in data.where)]
    if data.balance is not None:
        wanted.append(("data.balance", data.balance))
    if task == "segmentation" and data.ignore != DataConfig.ignore:  # the usual name may be absent: nothing is doubtful
        wanted.append(("data.ignore", data.ignore))
    if data.blank != DataConfig.blank:  # without the usual one, nothing is blanked
        wanted.append(("data.blank", data.blank))
    wanted.append(("data.fold", "fold") if data.fold is not None else ("", "split"))
    for key, column in wanted:
        fix = "Run `kerasortho data split` on it first." if column in ("split", "fold") else ""
        manifest.require_column(column, wanted_by=key, fix=fix)


def usable_split(row: Mapping[str, str], data: DataConfig, folds: int, task: Task, left_out: Counter[str]) -> str:
    """Return the split of a row that the task can use, else '' with the reason counted."""
    truth = data.label if task == "classification" else data.mask
    split = _split_of(row, data, folds)
    if row.get("exclude"):
        left_out[f"excluded: {row['exclude'].split(':')[0]}"] += 1
    elif any(row[column] not in values for column, values in data.where.items()):
        left_out["not selected by data.where"] += 1
    elif not row[truth]:
        left_out[f"no {truth}"] += 1
    elif not split:
        left_out["in no split"] += 1
    else:
        return split
    return ""


def _split_of(row: Mapping[str, str], data: DataConfig, folds: int) -> str:
    """Return the row's split; with folds: fold k tests, fold k+1 validates, the others train."""
    if data.fold is None:
        return row["split"]
    if not row["fold"]:
        return ""
    return {data.fold % folds: "test", (data.fold + 1) % folds: "val"}.get(int(row["fold"]), "train")


def _classes_of(kept: Sequence[tuple[Mapping[str, str], str]], data: DataConfig, task: Task) -> list[str]:
    if task == "segmentation":
        return ["foreground"]
    return sorted({row[data.label] for row, split in kept if split == "train"})


def make_samples(
    manifest: Manifest,
    kept: Sequence[tuple[Mapping[str, str], str]],
    data: DataConfig,
    task: Task,
    classes: Sequence[str],
    left_out: Counter[str],
) -> list[Sample]:
    """Return the samples of the rows that `usable_split` has ``kept``, with their splits; other classes are counted."""
    samples = []
    for row, split in kept:
        if task == "classification" and row[data.label] not in classes:
            left_out[f'{data.label} "{row[data.label]}" is not one of the classes'] += 1
        else:
            samples.append(_sample(manifest, row, split, data, task, classes))
    return samples


def _sample(
    manifest: Manifest, row: Mapping[str, str], split: str, data: DataConfig, task: Task, classes: Sequence[str]
) -> Sample:
    segmentation = task == "segmentation"
    image = manifest.resolve(row, "image")
    assert image is not None  # read_manifest refuses rows without an image
    return Sample(
        name=row["image"],
        image=image,
        mask=manifest.resolve(row, data.mask) if segmentation else None,
        ignore=manifest.resolve(row, data.ignore) if segmentation and data.ignore in manifest.columns else None,
        label=-1 if segmentation else list(classes).index(row[data.label]),
        group=group_of(row),
        split=split,
        row=row,
        blank=parse_boxes(row.get(data.blank, ""), f"{manifest.path}, image {row['image']}, column {data.blank}"),
    )


def _check(
    samples: Sequence[Sample], classes: Sequence[str], task: Task, manifest: Manifest, labels: Sequence[str]
) -> None:
    training = [s for s in samples if s.split == "train"]
    if labels and classes and not set(labels) & set(classes):
        raise KerasOrthoError(
            f"{manifest.path}: no image has one of the classes {', '.join(classes)}. Labels in the manifest: "
            f"{', '.join(labels)}. Set data.classes to those to be learned, or data.label to another column."
        )
    if not training:
        raise KerasOrthoError(
            f"{manifest.path}: no image is left to train on. Check the split column, data.where and the exclude column."
        )
    if task == "classification":
        present = {s.label for s in training}
        absent = [name for index, name in enumerate(classes) if index not in present]
        if len(classes) < 2 or absent:
            found = ", ".join(classes[i] for i in sorted(present))
            raise KerasOrthoError(
                f"{manifest.path}: the training images hold {counted(len(present), 'class', 'classes')} ({found}); "
                f"at least two are needed, and every class needs images."
                f"{' Without any: ' + ', '.join(absent) + '.' if absent else ''} "
                f"Labels in the manifest: {', '.join(labels)}."
            )
    if not any(s.split == "val" for s in samples):
        raise KerasOrthoError(
            f"{manifest.path}: no image is left to validate on. `kerasortho data split` makes a val split."
        )
    splits_of: dict[str, set[str]] = {}
    for sample in samples:
        splits_of.setdefault(sample.group, set()).add(sample.split)
    leaking = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    if leaking:
        raise KerasOrthoError(
            f"{manifest.path}: {counted(len(leaking), 'group crosses', 'groups cross')} splits (patients or studies), "
            f"such as {leaking[0]!r}. "
            "Scores would be too good. Run `kerasortho data split` to make a split that does not leak."
        )
