"""The COCO importer: files that pycocotools reads, choices that must be made, everything that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as truth
from pycocotools.coco import COCO

from kerasortho.data.importing.annotation_import import AnnotationOptions
from kerasortho.data.importing.coco import import_coco
from kerasortho.data.importing.importers import Imported
from kerasortho.data.manifest import Manifest, read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_mask

BONE, METAL = {"id": 1, "name": "bone"}, {"id": 7, "name": "metal"}
BOX = [2, 1, 6, 1, 6, 4, 2, 4]
RING = np.pad(np.pad(np.zeros((2, 3), np.uint8), 1, constant_values=1), ((1, 3), (2, 1)))

Writer = Callable[..., Path]


@pytest.fixture
def write_coco(tmp_path: Path) -> Writer:
    """Return a function of annotations (image number, segmentation, other keys) that writes a COCO file and images."""

    def write(*annotations: tuple[int, Any, dict[str, Any]], names: tuple[str, ...] = ("1.png",), **keys: Any) -> Path:
        for name in names:
            write_png(tmp_path / "images" / name, np.zeros((8, 8), np.uint8))
        content = {
            "images": [{"id": i, "file_name": n, "height": 8, "width": 8} for i, n in enumerate(names)],
            "categories": [BONE],
            "annotations": [
                {"id": 100 + i, "image_id": image, "category_id": 1, "segmentation": segmentation, "iscrowd": 0} | more
                for i, (image, segmentation, more) in enumerate(annotations)
            ],
        }
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(content | keys))
        return path

    return write


def run(path: Path, *, categories: tuple[str, ...] = (), crowd: Any = None, **options: Any) -> Imported:
    chosen = AnnotationOptions(**options)
    root = path.parent
    return import_coco(
        path, root / "images", root / "out" / "m.csv", categories=categories, crowd=crowd, options=chosen
    )


def mask_of(manifest: Manifest, index: int = 0, column: str = "mask") -> np.ndarray:
    file = manifest.resolve(manifest.rows[index], column)
    assert file is not None
    return read_mask(file)


def test_every_kind_of_outline(write_coco: Writer, tmp_path: Path) -> None:
    packed = truth.encode(np.asfortranarray(RING))
    path = write_coco(
        (0, [BOX, [6, 6, 8, 6, 8, 8, 6, 8]], {}),
        (1, {"size": [8, 8], "counts": packed["counts"].decode()}, {}),
        (2, {"size": [8, 8], "counts": [9, 3, 52]}, {}),
        names=("1.png", "2.png", "3.png"),
    )
    imported = run(path)
    assert imported.notes == ()
    manifest = read_manifest(tmp_path / "out" / "m.csv")
    assert dict(manifest.rows[0]) == {
        "image": "../images/1.png",
        "mask": "m-masks/1.png",
        "exclude": "",
    }
    box = np.zeros((8, 8), np.uint8)
    box[1:4, 2:6] = box[6:, 6:] = 1
    assert np.array_equal(mask_of(manifest), box)
    assert np.array_equal(mask_of(manifest, 1), RING)
    theirs = COCO(str(path))
    for index in range(3):
        assert np.array_equal(mask_of(manifest, index), theirs.annToMask(theirs.anns[100 + index]))


def test_categories_must_be_chosen(write_coco: Writer) -> None:
    path = write_coco((0, [BOX], {}), (0, [[0, 0, 1, 0, 1, 1, 0, 1]], {"category_id": 7}), categories=[BONE, METAL])
    with pytest.raises(
        KerasOrthoError, match=r"several categories.*--category.*bone \(1 annotation\), metal \(1 annot"
    ):
        run(path)
    with pytest.raises(KerasOrthoError, match='Did you mean "bone"'):
        run(path, categories=("bones",))
    assert mask_of(run(path, categories=("bone",)).manifest).sum() == 12
    assert mask_of(run(path, categories=("bone", "metal"), overwrite=True).manifest).sum() == 13


def test_no_annotation_is_not_no_finding(write_coco: Writer) -> None:
    path = write_coco((0, [BOX], {}), names=("1.png", "2.png"))
    with pytest.raises(KerasOrthoError, match=r"nothing in 1 of 2 images: 2\.png.*--empty-masks.*--skip-unannotated"):
        run(path)
    assert not (path.parent / "out").exists()
    with pytest.raises(KerasOrthoError, match="exclude each other"):
        run(path, empty_masks=True, skip_unannotated=True)
    skipped = run(path, skip_unannotated=True)
    assert len(skipped.manifest.rows) == 1 and "Images without annotation, left out: 1 (2.png)." in skipped.notes
    assert mask_of(run(path, empty_masks=True, overwrite=True).manifest, 1).sum() == 0


def test_an_image_with_another_category_only_is_unannotated(write_coco: Writer) -> None:
    path = write_coco((0, [BOX], {"category_id": 7}), categories=[BONE, METAL])
    with pytest.raises(KerasOrthoError, match="marks nothing in 1 of 1 image"):
        run(path, categories=("bone",))


def test_files_that_are_not_listed(write_coco: Writer, tmp_path: Path) -> None:
    path = write_coco((0, [BOX], {}))
    write_png(tmp_path / "images" / "extra.png", np.zeros((5, 5), np.uint8))
    imported = run(path)
    assert len(imported.manifest.rows) == 1 and "does not list, left out: 1 (extra.png)" in imported.notes[0]
    everything = run(path, all_files=True, empty_masks=True, overwrite=True)
    assert mask_of(everything.manifest, 1).shape == (5, 5)


def test_crowds_must_be_decided(write_coco: Writer) -> None:
    path = write_coco((0, [BOX], {}), (0, {"size": [8, 8], "counts": [60, 4]}, {"iscrowd": 1}))
    with pytest.raises(KerasOrthoError, match=r"1 region of several things each.*--crowd mask.*--crowd ignore"):
        run(path)
    assert mask_of(run(path, crowd="mask").manifest).sum() == 16
    ignored = run(path, crowd="ignore", overwrite=True).manifest
    assert mask_of(ignored).sum() == 12 and mask_of(ignored, column="ignore")[4:, 7].all()


def test_images_that_do_not_fit_are_excluded_and_listed(write_coco: Writer) -> None:
    names = tuple(f"{i}.png" for i in range(7))
    path = write_coco(
        (0, [BOX], {}),
        (1, [[2, 1, 60, 1, 6, 4]], {}),
        (2, [[1, 1, 2, 2]], {}),
        (3, [], {"bbox": [0, 0, 4, 4]}),
        (4, {"size": [8, 8], "counts": "0!"}, {}),
        (5, [[1, 2, 3, 4, 5]], {}),
        (6, [BOX], {}),
        names=names,
    )
    content = json.loads(path.read_text())
    content["images"][6] |= {"height": 16, "width": 16}
    path.write_text(json.dumps(content))
    imported = run(path)
    reasons = [row["exclude"] for row in imported.manifest.rows]
    assert reasons[0] == "" and [bool(row["mask"]) for row in imported.manifest.rows] == [True] + [False] * 6
    for reason, words in zip(
        reasons[1:],
        ("outside the image of 8x8", "2 corners", "103 has no outline", "104: run", "105: its", "annotated at 16x16"),
        strict=True,
    ):
        assert reason.startswith("annotation: ") and words in reason
    assert any("annotated at 16x16 pixels, but the image has 8x8: 1 (6.png)" in note for note in imported.notes)
    assert sorted(file.name for file in (path.parent / "out" / "m-masks").iterdir()) == ["0.png"]


def test_names_and_folders(write_coco: Writer, tmp_path: Path) -> None:
    path = write_coco((0, [BOX], {}), (1, [BOX], {}), names=("a/1.png", "b/1.png"))
    assert [row["mask"] for row in run(path).manifest.rows] == ["m-masks/a/1.png", "m-masks/b/1.png"]
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = "c/gone.png"
    path.write_text(json.dumps(content))
    imported = run(path, overwrite=True)
    assert "without a file below" in imported.notes[0] and "c/gone.png" in imported.notes[0]
    content["images"][0]["file_name"] = "1.png"
    path.write_text(json.dumps(content))
    with pytest.raises(KerasOrthoError, match=r"1\.png may be"):
        run(path, overwrite=True)
    content["images"][0]["file_name"] = "gone.png"
    path.write_text(json.dumps(content))
    with pytest.raises(KerasOrthoError, match="None of the images"):
        run(path, overwrite=True)
    content["images"] = [{"id": i, "file_name": "a/1.png"} for i in (0, 1)]
    path.write_text(json.dumps(content))
    with pytest.raises(KerasOrthoError, match=r"lists .*a/1\.png twice"):
        run(path, overwrite=True)


def test_nobody_elses_masks_are_overwritten(write_coco: Writer, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "m-masks" / "1.png"
    write_png(mine, np.ones((8, 8), np.uint8))
    path = write_coco((0, [BOX], {}))
    with pytest.raises(KerasOrthoError, match="m-masks, where masks are to be written, exists already"):
        run(path)
    assert read_mask(mine).all() and not (tmp_path / "out" / "m.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a COCO file"),
        ('{"images": []}', "not a COCO file.*KeyError 'annotations'"),
        ("[]", "not a COCO file"),
        ('{"images": [{"id": 1}], "annotations": []}', r"KeyError 'file_name'\. The entry: {'id': 1}"),
        ('{"images": [{"id": 1, "file_name": 5}], "annotations": []}', "a name must be text. Received: 5"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}', "two images with the id 1"),
        (
            '{"images": [], "categories": [{"id": 1, "name": "b"}], "annotations": [{"category_id": 2}]}',
            "category_id 2",
        ),
        ('{"images": [], "annotations": []}', "no categories: there is nothing to mark"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    write_png(tmp_path / "images" / "1.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(KerasOrthoError, match=message):
        run(tmp_path / "coco.json")


def test_no_file_and_no_images(write_coco: Writer, tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match=r"Cannot read .*No such file"):
        run(tmp_path / "none.json")
    path = write_coco((0, [BOX], {}))
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(KerasOrthoError, match="images has no images"):
        run(path)


def test_fracatlas(real_data: Path, fracatlas: Imported, tmp_path: Path) -> None:
    """The archive's own file must give the masks that its importer gives, to the pixel."""
    root = real_data / "data" / "FracAtlas"
    imported = import_coco(
        root / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json",
        root / "images",
        tmp_path / "m.csv",
        options=AnnotationOptions(view="upright", processes=2),
    )
    theirs = {Path(row["image"]).name: row for row in fracatlas.manifest.rows}
    compared = 0
    for index, row in enumerate(imported.manifest.rows):
        file = fracatlas.manifest.resolve(theirs[Path(row["image"]).name], "mask")
        if file is not None:
            assert np.array_equal(mask_of(imported.manifest, index), read_mask(file)), row["image"]
            compared += 1
    assert compared == 572
