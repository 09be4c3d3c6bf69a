"""Masks of several classes as Pillow and OpenCV write them: values, palettes, colours, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from kerasortho.data.importing.importers import Imported
from kerasortho.data.importing.label_import import import_labels
from kerasortho.data.manifest import Manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.label_image import read_label_image
from kerasortho.radiograph.raster import write_png
from kerasortho.radiograph.reading import read_mask

CODES = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [255, 2, 2, 0]], np.uint8)
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 0], [224, 224, 192]], np.uint8)
IN_COLOUR = COLOURS[np.minimum(CODES, 3)]

Run = Callable[..., Imported]


def write_palette(path: Path, codes: np.ndarray, palette: np.ndarray) -> None:
    image = Image.fromarray(codes, "P")
    image.putpalette(palette.ravel().tolist())
    image.save(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function of masks by name (arrays, or functions that write the file) that imports them."""

    def call(masks: dict[str, Any], *, shape: tuple[int, int] = CODES.shape, **options: Any) -> Imported:
        for name, mask in masks.items():
            write_png(tmp_path / "images" / f"{Path(name).stem}.png", np.zeros(shape, np.uint8))
            (tmp_path / "masks").mkdir(exist_ok=True)
            if callable(mask):
                mask(tmp_path / "masks" / name)
            elif mask.ndim == 3:
                Image.fromarray(mask).save(tmp_path / "masks" / name)
            else:
                assert cv2.imwrite(str(tmp_path / "masks" / name), mask)
        return import_labels(
            tmp_path / "images", tmp_path / "masks", tmp_path / "out" / "m.csv", overwrite=True, **options
        )

    return call


def mask_of(manifest: Manifest, index: int = 0, column: str = "mask") -> np.ndarray:
    file = manifest.resolve(manifest.rows[index], column)
    assert file is not None
    return read_mask(file).astype(bool)


@pytest.mark.parametrize("name", ["1.png", "1.tif", "1.bmp"])
def test_values(run: Run, name: str) -> None:
    imported = run({name: CODES}, foreground=["1, 2"], ignore_value=["255"])
    assert np.array_equal(mask_of(imported.manifest), np.isin(CODES, [1, 2]))
    assert np.array_equal(mask_of(imported.manifest, column="ignore"), CODES == 255)
    assert imported.notes == ("Marked: 1, 2, doubtful: 255; everything else is background.",)
    assert dict(imported.manifest.rows[0]) == {
        "image": "../images/1.png",
        "mask": "m-masks/1.png",
        "ignore": "m-ignore/1.png",
        "exclude": "",
    }


def test_sixteen_bits_and_three_equal_channels(run: Run) -> None:
    wide = CODES.astype(np.uint16) * 257
    manifest = run({"1.png": wide, "2.png": np.dstack([CODES] * 3)}, foreground=["257", "1"]).manifest
    assert np.array_equal(mask_of(manifest), CODES == 1) and np.array_equal(mask_of(manifest, 1), CODES == 1)


def test_palettes_count_by_number_or_by_colour(run: Run) -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 2, 255]] = COLOURS[1:]
    masks = {"1.png": lambda path: write_palette(path, CODES, palette)}
    for chosen in ("2", "#008000", "#008000".upper()):
        assert np.array_equal(mask_of(run(masks, foreground=[chosen]).manifest), CODES == 2)
    swapped = palette.copy()
    swapped[[1, 2]] = palette[[2, 1]]
    masks["2.png"] = lambda path: write_palette(path, CODES, swapped)
    with pytest.raises(KerasOrthoError, match=r"Palette entry 1 is #ff0000 in 1.png and #008000 in 2.png"):
        run(masks, foreground=["1"])
    manifest = run(masks, foreground=["#ff0000"]).manifest
    assert np.array_equal(mask_of(manifest), CODES == 1) and np.array_equal(mask_of(manifest, 1), CODES == 2)


def test_grey_palettes_are_numbers_not_grey(run: Run) -> None:
    """OpenCV gives the grey of a palette of (0, 0, 0), (128, 128, 128), ...; the class is the number."""
    palette = np.array([[0] * 3, [128] * 3, [255] * 3], np.uint8)
    masks = {"1.png": lambda path: write_palette(path, np.minimum(CODES, 2), palette)}
    assert np.array_equal(mask_of(run(masks, foreground=["1"]).manifest), CODES == 1)


def test_colours(run: Run) -> None:
    masks = {"1.png": IN_COLOUR, "2.png": np.zeros((*CODES.shape, 3), np.uint8)}
    manifest = run(masks, foreground=["#ff0000,#008000"], ignore_value=["#e0e0c0"]).manifest
    assert np.array_equal(mask_of(manifest), np.isin(CODES, [1, 2]))
    assert not mask_of(manifest, 1).any() and [bool(row["ignore"]) for row in manifest.rows] == [True, False]
    with pytest.raises(KerasOrthoError, match=r"1\.png holds colours and no values.*#008000 \(1 file, 4 pixels\)"):
        run(masks, foreground=["1"])
    with pytest.raises(KerasOrthoError, match="by values or by colours, not by both"):
        run(masks, foreground=["#ff0000"], ignore_value=["255"])


def test_several_values_must_be_chosen(run: Run, tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError) as error:
        run({"1.png": CODES, "2.png": CODES})
    assert "0 (2 files, 8 pixels), 1 (2 files, 6 pixels), 2 (2 files, 8 pixels), 255 (2 files, 2" in str(error.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(KerasOrthoError, match='no "3" among its values'):
        run({"1.png": CODES}, foreground=["3"])
    with pytest.raises(KerasOrthoError, match="Received: 'bone'"):
        run({"1.png": CODES}, foreground=["bone"])


def test_two_values_need_no_choice(run: Run) -> None:
    binary = (CODES == 1).astype(np.uint8) * 7
    assert np.array_equal(mask_of(run({"1.png": binary}).manifest), CODES == 1)
    with pytest.raises(KerasOrthoError, match="several values"):
        run({"1.png": binary + 1})
    with pytest.raises(KerasOrthoError, match=r"All masks of .* are empty"):
        run({"1.png": binary * 0})


def test_what_does_not_fit_is_excluded(run: Run, tmp_path: Path) -> None:
    smooth = np.random.default_rng(0).integers(0, 65535, (40, 40), np.uint16)
    masks = {
        "1.png": CODES,
        "2.png": CODES.T,
        "3.jpg": CODES,
        "4.png": smooth,
        "5.png": lambda path: path.write_bytes(b"x" * 400),
        "6.png": np.dstack([IN_COLOUR, np.full(CODES.shape, 9, np.uint8)]),
    }
    imported = run(masks, foreground=["1"])
    reasons = [row["exclude"] for row in imported.manifest.rows]
    assert reasons[0] == "" and reasons[1] == "mask: it has 3x4 pixels, but the image has 4x3"
    for reason, words in zip(
        reasons[2:], ("JPEG blurs", "is no mask of classes", "no known image format", "partly transparent"), strict=True
    ):
        assert reason.startswith("mask: ") and words in reason
    assert imported.notes[-1].startswith("Excluded: 5 images: 2.png (mask: it has")
    with pytest.raises(KerasOrthoError, match=r"No mask .* can be used\. 3\.jpg"):
        for file in (tmp_path / "masks").iterdir():
            if file.suffix == ".png":
                file.unlink()
                (tmp_path / "images" / file.name).unlink()
        run({"3.jpg": CODES})


def test_a_truncated_palette_file(tmp_path: Path) -> None:
    write_palette(tmp_path / "1.png", CODES, COLOURS)
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[: len(data) - 20])
    with pytest.raises(KerasOrthoError, match=r"1\.png: The PNG file is truncated"):
        read_label_image(tmp_path / "1.png")


def test_written_masks_are_no_images(run: Run, tmp_path: Path) -> None:
    """The manifest may lie among the images; the masks beside it are then below them, too."""
    run({"1.png": CODES}, foreground=["1"])
    for _ in range(2):
        again = import_labels(
            tmp_path / "images",
            tmp_path / "masks",
            tmp_path / "images" / "m.csv",
            foreground=["1"],
            overwrite=True,
        )
        assert [row["mask"] for row in again.manifest.rows] == ["m-masks/1.png"]


def test_real_masks(real_data: Path, tmp_path: Path) -> None:
    """Masks of 0 and 255 are label masks, too, and stay what they are."""
    data = real_data / "data"
    imported = import_labels(
        data / "FracAtlas" / "images",
        data / "FracAtlas-bones" / "masks",
        tmp_path / "m.csv",
        skip_unmatched=True,
        processes=2,
    )
    assert len(imported.manifest.rows) == 141
    for index, row in enumerate(imported.manifest.rows):
        original = data / "FracAtlas-bones" / "masks" / f"{Path(row['image']).stem}.png"
        assert np.array_equal(mask_of(imported.manifest, index), read_mask(original).astype(bool))
