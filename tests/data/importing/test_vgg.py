"""The importer of VGG Image Annotator files: their three forms, all shapes, attributes that must be chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasortho.data.importing.annotation_import import AnnotationOptions
from kerasortho.data.importing.importers import Imported
from kerasortho.data.importing.vgg import import_vgg
from kerasortho.data.manifest import Manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_mask

BONE = {"label": "bone"}
RECT = {"name": "rect", "x": 2, "y": 1, "width": 4, "height": 3}
POLYGON = {"name": "polygon", "all_points_x": [2, 6, 6, 2, 2], "all_points_y": [1, 1, 4, 4, 1]}
POLYLINE = {"name": "polyline", "all_points_x": [2, 6], "all_points_y": [1, 1]}


def region(shape: Mapping[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name: str, *regions: Any, as_dict: bool = False, size: int = -1) -> dict[str, Any]:
    listed = {str(i): item for i, item in enumerate(regions)} if as_dict else list(regions)
    return {"filename": name, "size": size, "regions": listed, "file_attributes": {}}


def run(folder: Path, content: Any, *attributes: str, **options: Any) -> Imported:
    if not (folder / "images").exists():
        for name in ("1.png", "2.png"):
            write_png(folder / "images" / name, np.zeros((8, 9), np.uint8))
    (folder / "via.json").write_text(json.dumps(content))
    chosen = AnnotationOptions(overwrite=True, **options)
    return import_vgg(folder / "via.json", folder / "images", folder / "m.csv", attributes=attributes, options=chosen)


def mask_of(manifest: Manifest, index: int = 0) -> np.ndarray:
    file = manifest.resolve(manifest.rows[index], "mask")
    assert file is not None
    return read_mask(file)


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("project", [False, True])
def test_three_forms(tmp_path: Path, as_dict: bool, project: bool) -> None:
    images = {
        "1.png-1": entry("1.png", region(RECT, **BONE), as_dict=as_dict),
        "2.png-1": entry("2.png", region(POLYGON, **BONE), as_dict=as_dict),
    }
    imported = run(tmp_path, {"_via_settings": {}, "_via_img_metadata": images} if project else images)
    expected = np.zeros((8, 9), np.uint8)
    expected[1:4, 2:6] = 1
    assert imported.notes == () and len(imported.manifest.rows) == 2
    assert all(np.array_equal(mask_of(imported.manifest, index), expected) for index in range(2))


def test_circles_and_ellipses(tmp_path: Path) -> None:
    circle = {"name": "circle", "cx": 4, "cy": 4, "r": 2}
    ellipse = {"name": "ellipse", "cx": 4.5, "cy": 4, "rx": 4, "ry": 0.9, "theta": np.pi / 2}
    content = {"a": entry("1.png", region(circle)), "b": entry("2.png", region(ellipse))}
    manifest = run(tmp_path, content).manifest
    disc = np.zeros((8, 9), np.uint8)
    disc[2:6, 3:5] = disc[3:5, 2:6] = 1
    assert np.array_equal(mask_of(manifest), disc)
    upright = np.argwhere(mask_of(manifest, 1))
    assert upright.min(axis=0).tolist() == [0, 4] and upright.max(axis=0).tolist() == [7, 4]


def test_attributes_must_be_chosen(tmp_path: Path) -> None:
    ticked = {"kind": {"metal": True, "bone": False}}
    corner = {"name": "rect", "x": 0, "y": 0, "width": 1, "height": 1}
    content = {
        "a": entry("1.png", region(RECT, **BONE), region(corner, **ticked)),
        "b": entry("2.png", region(RECT), region(corner, **BONE)),
    }
    with pytest.raises(KerasOrthoError) as error:
        run(tmp_path, content)
    assert "(none) (1 region), kind=metal (1 region), label=bone (2 regions)" in str(error.value)
    with pytest.raises(KerasOrthoError, match='Did you mean "label=bone"'):
        run(tmp_path, content, "label=bones")
    manifest = run(tmp_path, content, "label=bone").manifest
    assert [mask_of(manifest, index).sum() for index in range(2)] == [12, 1]
    manifest = run(tmp_path, content, "label=bone", "kind=metal").manifest
    assert [mask_of(manifest, index).sum() for index in range(2)] == [13, 1]
    with pytest.raises(KerasOrthoError, match="marks nothing in 1 of 2 images"):
        run(tmp_path, content, "kind=metal")


def test_lines_and_points_have_no_area(tmp_path: Path) -> None:
    content = {"a": entry("1.png", region(RECT), region(POLYLINE)), "b": entry("2.png", region(RECT))}
    imported = run(tmp_path, content)
    assert [row["exclude"] for row in imported.manifest.rows] == [
        "annotation: region 2 is a polyline, which has no area",
        "",
    ]
    content["a"] = entry("1.png", region(RECT, **BONE), region({"name": "point", "cx": 1, "cy": 1}, label="mark"))
    assert mask_of(run(tmp_path, {"a": content["a"]}, "label=bone").manifest).sum() == 12


def test_files_changed_since_then(tmp_path: Path) -> None:
    imported = run(tmp_path, {"a": entry("1.png", region(RECT), size=5), "b": entry("2.png", region(RECT))})
    assert "Files of another size in bytes than when they were annotated, perhaps changed: 1 (1.png)." in imported.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not a file of the VGG Image Annotator"),
        ({"a": {"regions": []}}, "KeyError 'filename'. The entry"),
        ({"a": entry("1.png", {"region_attributes": {}})}, "KeyError 'shape_attributes'"),
        ({"a": entry("1.png", region({"name": "rect", "x": 1}))}, "KeyError 'y'"),
        ({"a": entry("1.png", region(POLYGON | {"all_points_y": [1]}))}, "ValueError"),
        ({"project": {}, "metadata": {}}, "project of VIA 3"),
        ({"a": entry("1.png")}, "no regions"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        run(tmp_path, content)


def test_fracatlas(real_data: Path, fracatlas: Imported, tmp_path: Path) -> None:
    """The archive's VGG file must give the masks that its COCO file gives, but for five images where it differs."""
    root = real_data / "data" / "FracAtlas"
    imported = import_vgg(
        root / "Annotations" / "VGG JSON" / "VGG_fracture_masks.json",
        root / "images",
        tmp_path / "m.csv",
        options=AnnotationOptions(view="upright", processes=2),
    )
    theirs = {Path(row["image"]).stem: row for row in fracatlas.manifest.rows}
    differing = []
    for index, row in enumerate(imported.manifest.rows):
        name = Path(row["image"]).stem
        file = fracatlas.manifest.resolve(theirs[name], "mask")
        if file is not None and not np.array_equal(mask_of(imported.manifest, index), read_mask(file)):
            differing.append(name)
    # One polygon of each is in the COCO file alone: 744 polygons here, 749 there.
    assert differing == ["IMG0000851", "IMG0002086", "IMG0002395", "IMG0002471", "IMG0002614"]
    assert len(imported.manifest.rows) == 573
