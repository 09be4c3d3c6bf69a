"""Blanked rectangles: the boxes of a cell, what they are filled with, and that training and cache honour them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasortho.config import DataConfig
from kerasortho.data.blanking import blanked, format_boxes, parse_boxes, read_blanked
from kerasortho.data.samples import load_samples, used_columns
from kerasortho.data.store import SampleStore
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.preprocessing import Preprocessing
from kerasortho.radiograph.raster import write_png

SPEC = Preprocessing(size=(32, 32))
edge = st.integers(0, 5000)
side = st.integers(1, 5000)


@given(st.lists(st.tuples(edge, edge, side, side), max_size=4))
def test_cells_hold_boxes(boxes: list[tuple[int, int, int, int]]) -> None:
    assert parse_boxes(format_boxes(boxes), "m.csv") == tuple(boxes)


@pytest.mark.parametrize("cell", ["1,2,3", "1, 2, 0, 4", "-1, 2, 3, 4", "1.5, 2, 3, 4", "a", "1,2,3,4 5,6,7,8"])
def test_other_cells_are_refused(cell: str) -> None:
    with pytest.raises(KerasOrthoError, match=r"^m\.csv: .*four whole numbers"):
        parse_boxes(cell, "m.csv")


def test_boxes_take_the_median_around_them_and_leave_the_rest() -> None:
    pixels = np.full((40, 50), 0.2, np.float32)
    pixels[:, 30:] = 0.6
    clean = pixels.copy()
    pixels[10:16, 5:15] = 1  # text over the dark part
    pixels[20:26, 35:45] = 0  # and over the bright one
    pixels[10:16, 15:18] = 1  # in a box beside the first one, which must not colour it
    before = pixels.copy()
    result = blanked(pixels, [(5, 10, 10, 6), (35, 20, 10, 6), (15, 10, 3, 6)])
    np.testing.assert_array_equal(result, clean)
    np.testing.assert_array_equal(pixels, before)
    assert blanked(pixels, []) is pixels
    assert np.isfinite(blanked(pixels, [(0, 0, 50, 40)])).all()  # nothing is left to take the median of


def test_a_box_of_another_image_is_refused_by_name(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((40, 50), np.uint8))
    with pytest.raises(KerasOrthoError, match=r"a\.png: The box to blank 45, 0, 10, 5 .* 50x40 px"):
        read_blanked(tmp_path / "a.png", ((45, 0, 10, 5),))


def written(folder: Path, column: str = "blank", cell: str = '"4, 4, 10, 8"') -> Path:
    image = np.full((32, 32), 60, np.uint8)
    image[20:30, 10:20] = 200
    image[4:12, 4:14] = 255
    lines = [f"image,label,group,split,{column}"]
    for number, split in enumerate(("train", "train", "val")):
        write_png(folder / f"{number}.png", image)
        lines.append(f"{number}.png,{'ab'[number % 2]},{number},{split},{cell if number == 0 else ''}")
    path = folder / "m.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_training_meets_the_blanked_image(tmp_path: Path) -> None:
    samples = load_samples(DataConfig(str(written(tmp_path))), "classification")
    assert [sample.blank for sample in samples.samples] == [((4, 4, 10, 8),), (), ()]
    store = SampleStore(samples.samples, SPEC)
    first, second = store[0][0], store[1][0]
    assert (first[4:12, 4:14] == first[0, 0]).all() and (second[5:11, 5:13] > first[0, 0]).all()
    assert first[25, 15] > first[0, 0]


def test_other_boxes_are_other_prepared_files(tmp_path: Path) -> None:
    sample = load_samples(DataConfig(str(written(tmp_path))), "classification").samples[0]
    keys = {
        SampleStore([replace(sample, blank=boxes)], SPEC, place="none").key()
        for boxes in ((), ((4, 4, 10, 8),), ((4, 4, 10, 9),), ((4, 4, 10, 8), (0, 0, 2, 2)))
    }
    assert len(keys) == 4


def test_the_column_may_have_another_name(tmp_path: Path) -> None:
    path = written(tmp_path, column="text")
    assert load_samples(DataConfig(str(path), blank="text"), "classification").samples[0].blank
    assert not load_samples(DataConfig(str(path)), "classification").samples[0].blank
    with pytest.raises(KerasOrthoError, match=r'no column "txt", which data.blank names.*"text"'):
        load_samples(DataConfig(str(path), blank="txt"), "classification")
    assert "text" in used_columns(DataConfig(str(path), blank="text"), "classification")


def test_a_wrong_cell_names_image_and_column(tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match=r"m\.csv, image 0\.png, column blank: .*Received: 'here'"):
        load_samples(DataConfig(str(written(tmp_path, cell="here"))), "classification")
