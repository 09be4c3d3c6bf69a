"""From a manifest to a COCO file of instance annotations, which gives exactly the same masks again."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from kerasortho.data.importing import run_lengths
from kerasortho.data.importing.exports_cases import ExportCase, cases_of, describe_left_out, load_case
from kerasortho.data.importing.exports_nnunet import Exported
from kerasortho.data.importing.outline import trace_outline
from kerasortho.data.manifest import SPLITS, read_manifest, relative_cell, shorten
from kerasortho.data.parallel import parallel_each
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.files import atomic_path, require_writable

_FOREGROUND = 1  # the id of the only category


@dataclass(frozen=True)
class _Marked:
    """What came of one image: its size (H, W), its annotations without their ids, or a problem."""

    shape: tuple[int, int] = (0, 0)
    annotations: tuple[dict[str, Any], ...] = ()
    turned: bool = False
    problem: str = ""


def export_coco(
    source: str | Path,
    output: str | Path,
    *,
    category: str = "foreground",
    split: str | None = None,
    overwrite: bool = False,
    processes: int = 1,
    what: str = "",
) -> Exported:
    """Write the masks of a manifest as a COCO file.

    Every connected piece of a mask is an annotation: a polygon along the edges of its pixels or, where it has holes,
    packed run lengths. Doubtful pixels become one annotation with ``iscrowd``. Images are named from the folder that
    they have in common. Images with an empty mask have no annotation.

    Args:
        source: the manifest.
        output: the JSON file to write.
        category: what the masks mark.
        split: write the images of one split only; None: of all.
        overwrite: replace ``output`` if it exists.
        processes: how many processes read. what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: no image with a mask, an unknown split, or ``output`` exists.
    """
    manifest, target = read_manifest(source), Path(output)
    if target.exists() and not overwrite:
        raise KerasOrthoError(f"{target} exists already. Choose another name, or --overwrite it.")
    require_writable(target.parent)
    if split is not None:
        manifest.require_column("split", wanted_by="--split")
        if split not in SPLITS:
            raise KerasOrthoError(f'There is no split "{split}".{did_you_mean(split, SPLITS)} Use train, val or test.')
    left_out: Counter[str] = Counter()
    cases = [case for case in cases_of(manifest, left_out) if _is_wanted(case, split, left_out)]
    if not cases:
        raise KerasOrthoError(
            f"{source} has no image with a mask. {' '.join(describe_left_out(left_out, {}))}".rstrip()
        )
    root = Path(os.path.commonpath([case.image.parent for case in cases]))
    results = parallel_each(_mark, cases, processes=processes, what=what)
    writer = _Writer(category, root)
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as stream:
        writer.write(stream, zip(cases, results, strict=True))
        if not writer.images:
            name, problem = next(iter(writer.problems.items()))
            raise KerasOrthoError(f"No image of {source} can be used. {name}: {problem}")
    notes = [*describe_left_out(left_out, writer.problems), f"Images are named from {root}."]
    if writer.turned:
        notes.append(
            f"Images with an EXIF orientation: {len(writer.turned)} ({shorten(writer.turned)}). Their annotations are "
            "on the stored pixels; programs that turn such images show them elsewhere."
        )
    return Exported(target, len(writer.images), tuple(notes))


def _is_wanted(case: ExportCase, split: str | None, left_out: Counter[str]) -> bool:
    if split is not None and case.row["split"] != split:
        left_out["of other splits"] += 1
        return False
    if case.mask is None:
        left_out["without mask"] += 1
        return False
    return True


class _Writer:
    """Writes a COCO file image by image, so that annotations need not be kept."""

    def __init__(self, category: str, root: Path) -> None:
        self.images: list[dict[str, Any]] = []
        self.problems: dict[str, str] = {}
        self.turned: list[str] = []
        self._category = category
        self._root = root
        self._annotations = 0

    def write(self, stream: TextIO, results: Iterable[tuple[ExportCase, _Marked]]) -> None:
        """Write everything; a result is a case with what is marked on it."""
        categories = [{"id": _FOREGROUND, "name": self._category, "supercategory": ""}]
        stream.write(
            f'{{"info": {{"description": "kerasortho"}},\n"categories": {_text(categories)},\n"annotations": ['
        )
        for annotation in self._number(results):
            stream.write("," if self._annotations > 1 else "")
            stream.write(f"\n{_text(annotation)}")
        stream.write(f'\n],\n"images": [\n{",".join(_text(image) for image in self.images)}\n]}}\n')

    def _number(self, results: Iterable[tuple[ExportCase, _Marked]]) -> Iterator[dict[str, Any]]:
        for case, marked in results:
            name = relative_cell(case.image, self._root)
            if marked.problem:
                self.problems[case.row["image"]] = marked.problem
                continue
            number = len(self.images) + 1
            height, width = marked.shape
            self.images.append({"id": number, "file_name": name, "width": width, "height": height})
            self.turned += [name] if marked.turned else []
            for annotation in marked.annotations:
                self._annotations += 1
                yield {"id": self._annotations, "image_id": number, "category_id": _FOREGROUND, **annotation}


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _mark(case: ExportCase) -> _Marked:
    """Read one case and return its annotations."""
    loaded = load_case(case)
    if loaded.problem or loaded.mask is None:
        return _Marked(problem=loaded.problem or "no mask")
    annotations = list(annotate(loaded.mask))
    if loaded.ignore is not None and loaded.ignore.any():
        annotations.append(_with_run_lengths(loaded.ignore) | {"iscrowd": 1})
    height, width = loaded.mask.shape
    return _Marked((height, width), tuple(annotations), loaded.turned)


def annotate(mask: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield one annotation for each connected piece of a (H, W) bool mask: segmentation, area, bbox, iscrowd."""
    number, pieces, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    for piece in range(1, number):
        x, y, width, height, area = (int(value) for value in boxes[piece])
        inside = pieces[y : y + height, x : x + width] == piece
        outline = trace_outline(inside)
        if outline is None:
            yield _with_run_lengths(pieces == piece) | {"iscrowd": 0}
            continue
        points = np.add(outline, (x, y)).ravel().tolist()
        yield {"segmentation": [points], "area": area, "bbox": [x, y, width, height], "iscrowd": 0}


def _with_run_lengths(mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "segmentation": {"size": list(mask.shape), "counts": run_lengths.pack(run_lengths.encode(mask))},
        "area": int(mask.sum()),
        "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
    }
