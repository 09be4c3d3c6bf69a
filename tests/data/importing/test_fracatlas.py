"""The FracAtlas importer, on a small archive made here and on the real one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data.importing.fracatlas import import_fracatlas
from kerasortho.data.importing.importers import Imported
from kerasortho.data.manifest import Manifest, read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_mask

HEADER = "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,lateral,oblique"
SQUARE = [2.0, 3.0, 10.0, 3.0, 10.0, 9.0, 2.0, 9.0]


def line(number: int, regions: str, fractured: int = 0, count: int | None = None) -> str:
    flags = [int(name in regions.split()) for name in ("hand", "leg", "hip", "shoulder")]
    count = fractured if count is None else count
    return ",".join(
        map(str, [f"IMG{number}.jpg", *flags, int(len(regions.split()) > 1), 0, 0, fractured, count, 1, 0, 0])
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Seven images: two sound ones, two regions, two limbs, contradictions both ways, a truncated file."""
    root = tmp_path / "FracAtlas"
    lines = [
        line(1, "hand"),
        line(2, "leg", 1, 2),
        line(3, "hand shoulder"),
        line(4, "hand leg"),
        line(5, "hip", 1),
        line(6, "hip", 0, 1),
        line(7, "leg"),
        line(8, "leg"),
    ]
    rng = np.random.default_rng(0)
    for number in range(1, 8):
        folder = root / "images" / ("Fractured" if number in (2, 5, 6) else "Non_fractured")
        folder.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".jpg", rng.integers(0, 255, (24, 16), np.uint8))[1].tobytes()
        (folder / f"IMG{number}.jpg").write_bytes(data[: len(data) // 2] if number == 7 else data)
    (root / "dataset.csv").write_text("\n".join([HEADER, *lines]))
    images = [{"id": n, "file_name": f"IMG{n}.jpg", "width": 16, "height": 24} for n in (2, 6)]
    triangle = [12.0, 12.0, 15.0, 12.0, 12.0, 20.0]
    annotations = [
        {"id": i, "image_id": n, "category_id": 0, "segmentation": [s]}
        for i, (n, s) in enumerate([(2, SQUARE), (2, triangle), (6, SQUARE)])
    ]
    coco = root / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json"
    coco.parent.mkdir(parents=True)
    coco.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "fractured"}]})
    )
    (root / "Utilities" / "Fracture Split").mkdir(parents=True)
    for name, ids in {"train": "IMG2.jpg\nIMG5.jpg", "valid": "IMG6.jpg", "test": ""}.items():
        (root / "Utilities" / "Fracture Split" / f"{name}.csv").write_text(f"image_id\n{ids}\n")
    return root


def by_name(manifest: Manifest) -> dict[str, dict[str, str]]:
    return {Path(row["image"]).stem: dict(row) for row in manifest.rows}


def test_rules(archive: Path, tmp_path: Path) -> None:
    imported = import_fracatlas(archive, tmp_path / "out" / "fa.csv", published_split=True)
    manifest = read_manifest(tmp_path / "out" / "fa.csv")
    rows = by_name(manifest)
    assert {name: (row["label"], row["region"], row["limb"]) for name, row in rows.items()} == {
        "IMG1": ("hand", "hand", "upper"),
        "IMG2": ("leg", "leg", "lower"),
        "IMG3": ("", "hand+shoulder", "upper"),
        "IMG4": ("", "hand+leg", ""),
        "IMG5": ("hip", "hip", "lower"),
        "IMG6": ("hip", "hip", "lower"),
        "IMG7": ("leg", "leg", "lower"),
    }
    assert rows["IMG4"]["exclude"] == "mixed: upper and lower limb"
    assert rows["IMG7"]["exclude"].startswith("unreadable: The JPEG file is truncated")
    assert str(tmp_path) not in (tmp_path / "out" / "fa.csv").read_text()
    assert [rows[f"IMG{n}"]["exclude"] for n in (1, 2, 3, 5, 6)] == [""] * 5
    assert [rows[f"IMG{n}"]["split"] for n in range(1, 8)] == ["", "train", "", "", "train", "val", ""]
    assert rows["IMG5"]["mask_note"] == "contradiction: fractured, but without polygon"
    assert rows["IMG6"]["mask_note"] == "contradiction: not fractured, but with 1 polygon"
    assert [name for name, row in rows.items() if not row["mask"]] == ["IMG5", "IMG6", "IMG7"]
    told = "\n".join(imported.notes)
    assert "Images of dataset.csv without a file, left out: 1 (IMG8.jpg)." in told
    assert "Unreadable files, excluded: 1 (" in told and "IMG5.jpg gets no fracture mask" in told


def test_masks(archive: Path, tmp_path: Path) -> None:
    manifest = import_fracatlas(archive, tmp_path / "out" / "fa.csv").manifest
    rows = by_name(manifest)
    file = manifest.resolve(rows["IMG2"], "mask")
    assert file == tmp_path / "out" / "fa-masks" / "IMG2.png"
    mask = read_mask(file)
    assert mask.shape == (24, 16)
    assert mask[3:9, 2:10].all() and mask[:12, :].sum() == 48
    assert 0 < mask[12:].sum() <= 14 and mask[12, 12] == 1
    empty = manifest.resolve(rows["IMG1"], "mask")
    assert empty is not None and read_mask(empty).sum() == 0


def test_broken_archives(archive: Path, tmp_path: Path) -> None:
    coco = archive / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json"
    coco.write_text("{}")
    with pytest.raises(KerasOrthoError, match="not a COCO file"):
        import_fracatlas(archive, tmp_path / "fa.csv")
    coco.unlink()
    with pytest.raises(KerasOrthoError, match=r"is missing\. It is a part of the FracAtlas archive"):
        import_fracatlas(archive, tmp_path / "fa.csv")
    (archive / "dataset.csv").write_text("image,hand\nx.jpg,1\n")
    with pytest.raises(KerasOrthoError, match='no column "image_id"'):
        import_fracatlas(archive, tmp_path / "fa.csv")
    assert not (tmp_path / "fa.csv").exists()


def test_real_archive(fracatlas: Imported) -> None:
    rows = by_name(read_manifest(fracatlas.manifest.path))
    used = [row for row in rows.values() if not row["exclude"]]
    assert len(rows) == 3263
    assert sum(row["exclude"].startswith("unreadable") for row in rows.values()) == 59
    assert sum(row["exclude"].startswith("mixed") for row in rows.values()) == 22
    assert Counter(row["limb"] for row in used).keys() == {"upper", "lower"}
    assert Counter(row["split"] for row in rows.values()) == {"": 2690, "train": 469, "val": 71, "test": 33}
    assert [name for name, row in rows.items() if row["mask_note"]] == ["IMG0003298"]
    remarks = [note for note in fracatlas.notes if "EXIF" in note]
    assert [note[:14] for note in remarks] == ["IMG0002588.jpg", "IMG0002628.jpg"]
    # The fracture of IMG0002588 is at the distal tibia: in the lower half of the stored (upside-down) picture.
    turned = read_mask(fracatlas.manifest.resolve(rows["IMG0002588"], "mask") or Path())
    assert turned[: len(turned) // 2].sum() == 0 and turned.sum() > 100
