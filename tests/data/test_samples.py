"""Which rows of a manifest train, validate and test; which are left out; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kerasortho.config import DataConfig
from kerasortho.data.samples import load_samples, used_columns
from kerasortho.errors import KerasOrthoError

HEADER = "image,mask,ignore,label,group,split,fold,exclude,side"
ROWS = [
    "a.png,am.png,ai.png,upper,p1,train,0,,left",
    "b.png,bm.png,,lower,p2,train,1,,right",
    "c.png,cm.png,,upper,p3,val,2,,left",
    "d.png,dm.png,,lower,p4,test,0,,right",
    "e.png,,,,p5,train,1,,left",
    "f.png,fm.png,,upper,p6,,,,left",
    "g.png,gm.png,,upper,p7,train,2,broken: cut off,left",
]


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest of ROWS, or others, with (empty) files for all that they name."""

    def write(*rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "manifest.csv"
        path.write_text("\n".join([header, *(rows or ROWS)]) + "\n")
        for row in rows or ROWS:
            for cell in row.split(","):
                if cell.endswith(".png"):
                    (tmp_path / cell).touch()
        return path

    return write


def load(path: Path, task: Any = "classification", classes: Any = None, **data: Any) -> Any:
    return load_samples(DataConfig(manifest=str(path), **data), task, classes)


def names(samples: Any, split: str) -> list[str]:
    return [s.name for s in samples.split(split)]


def test_classification(manifest, tmp_path):
    found = load(manifest())
    assert found.classes == ("lower", "upper")
    assert names(found, "train") == ["a.png", "b.png"] and names(found, "val") == ["c.png"]
    assert names(found, "test") == ["d.png"] and names(found, "all") == ["a.png", "b.png", "c.png", "d.png"]
    a = found.samples[0]
    assert (a.label, a.group, a.split, a.image) == (1, "p1", "train", tmp_path / "a.png")
    assert a.mask is None and a.ignore is None
    assert found.left_out == {"no label": 1, "in no split": 1, "excluded: broken": 1}


def test_segmentation(manifest, tmp_path):
    found = load(manifest(), "segmentation")
    assert found.classes == ("foreground",)
    assert names(found, "train") == ["a.png", "b.png"]
    a, b = found.samples[:2]
    assert (a.mask, a.ignore, a.label) == (tmp_path / "am.png", tmp_path / "ai.png", -1)
    assert b.ignore is None
    assert found.left_out["no mask"] == 1


def test_no_ignore_column_is_needed(manifest):
    path = manifest("a.png,am.png,train", "b.png,bm.png,val", header="image,mask,split")
    found = load(path, "segmentation")
    assert [s.ignore for s in found.samples] == [None, None]
    assert [s.group for s in found.samples] == ["a.png", "b.png"]  # without groups each image is its own


def test_where_selects(manifest):
    found = load(manifest(), "segmentation", where={"side": ("left",)})
    assert names(found, "all") == ["a.png", "c.png"]
    assert found.left_out["not selected by data.where"] == 2


def test_another_column_may_be_the_label(manifest):
    found = load(manifest(), label="side")
    assert found.classes == ("left", "right")
    assert names(found, "train") == ["a.png", "b.png", "e.png"]


def test_classes_given_fix_order_and_leave_others_out(manifest):
    path = manifest(*ROWS, "h.png,,,hip,p8,train,1,,left")
    assert load(path).classes == ("hip", "lower", "upper")
    found = load(path, classes=("upper", "lower"))
    assert found.classes == ("upper", "lower") and found.samples[0].label == 0
    assert found.left_out['label "hip" is not one of the classes'] == 1


def test_classes_of_the_configuration(manifest):
    path = manifest(*ROWS, "h.png,,,hip,p8,train,1,,left")
    found = load_samples(DataConfig(manifest=str(path), classes=("upper", "lower")), "classification")
    assert found.classes == ("upper", "lower")


def test_classes_come_from_the_training_rows_alone(manifest):
    found = load(manifest(*ROWS, "h.png,,,hip,p8,test,1,,left"))
    assert found.classes == ("lower", "upper")
    assert found.left_out['label "hip" is not one of the classes'] == 1


@pytest.mark.parametrize(
    ("fold", "expected"),
    [(0, {"test": ["a", "d"], "val": ["b"], "train": ["c"]}), (2, {"test": ["c"], "val": ["a", "d"], "train": ["b"]})],
)
def test_folds(manifest, fold, expected):
    found = load(manifest(), "segmentation", fold=fold)
    assert {split: [n[0] for n in names(found, split)] for split in expected} == expected
    assert found.left_out["in no split"] == 1  # without a fold


def test_fold_that_does_not_exist(manifest):
    with pytest.raises(KerasOrthoError, match=r"data.fold is 3, but .*manifest.csv has 3 folds, counted from 0"):
        load(manifest(), fold=3)
    path = manifest("a.png,upper,train,", header="image,label,split,fold")
    with pytest.raises(KerasOrthoError, match="has 0 folds"):
        load(path, fold=0)


def refuse(path: Path, *words: str, task: str = "classification", **data: Any) -> None:
    with pytest.raises(KerasOrthoError) as caught:
        load(path, task, **data)
    message = str(caught.value)
    assert "manifest.csv" in message and "\n" not in message
    assert all(word in message for word in words), message


class TestRefused:
    """Every refusal names the manifest and what to do."""

    def test_classes_that_no_image_has(self, manifest):
        path = manifest("a.png,wrist,train,", "b.png,ankle,val,", header="image,label,split,fold")
        refuse(path, "classes lower, upper", "ankle, wrist", "data.classes", classes=("lower", "upper"))

    def test_missing_column(self, manifest):
        refuse(manifest(), 'no column "labl"', "data.label", 'Did you mean "label"?', label="labl")
        refuse(manifest(), 'no column "msk"', "data.mask", task="segmentation", mask="msk")
        refuse(manifest(), 'no column "sid"', "data.where", 'Did you mean "side"?', where={"sid": ("left",)})
        refuse(manifest(), 'no column "sid"', "data.balance", 'Did you mean "side"?', balance="sid")

    def test_no_split(self, manifest):
        path = manifest("a.png,upper", "b.png,lower", header="image,label")
        refuse(path, 'no column "split"', "kerasortho data split")
        refuse(path, 'no column "fold"', "kerasortho data split", fold=0)

    def test_one_class(self, manifest):
        path = manifest("a.png,upper,train", "b.png,upper,train", "c.png,lower,val", header="image,label,split")
        refuse(path, "the training images hold 1 class (upper)", "at least two")

    def test_class_without_training_images(self, manifest):
        refuse(manifest(), "every class needs images", "Without any: hip", classes=("lower", "upper", "hip"))

    def test_nothing_to_train_or_validate_on(self, manifest):
        header = "image,label,split"
        refuse(manifest("a.png,upper,val", "b.png,lower,test", header=header), "no image is left to train on")
        refuse(manifest("a.png,upper,train", "b.png,lower,train", header=header), "no image is left to validate on")
        refuse(manifest(), "no image is left to train on", where={"side": ("nowhere",)})

    def test_group_in_two_splits(self, manifest):
        path = manifest(*ROWS, "h.png,,,upper,p1,val,0,,left", "i.png,,,upper,p2,test,0,,left")
        refuse(path, "2 groups", "cross splits", "'p1'", "kerasortho data split")

    def test_excluded_rows_do_not_leak(self, manifest):
        path = manifest(*ROWS, "h.png,,,upper,p1,val,0,a copy of a.png,left")
        assert names(load(path), "val") == ["c.png"]

    def test_missing_files(self, manifest, tmp_path):
        path = manifest()
        (tmp_path / "b.png").unlink()
        refuse(path, "1 of", "column image", "b.png")

    def test_unknown_split(self, manifest):
        with pytest.raises(KerasOrthoError, match=r'no split "trian".*Did you mean "train"'):
            load(manifest()).split("trian")


def test_a_column_of_doubtful_pixels_that_is_named_must_be_there(manifest):
    assert load(manifest(), "segmentation", ignore="ignore").samples
    with pytest.raises(KerasOrthoError, match=r'no column "ignroe", which data.ignore names. Did you mean "ignore"'):
        load(manifest(), "segmentation", ignore="ignroe")


def test_the_labels_that_are_there_are_named_where_the_classes_do_not_fit(manifest):
    with pytest.raises(KerasOrthoError, match="Labels in the manifest: lower, upper"):
        load(manifest(), classes=("lower", "ankle"))


def test_columns_that_decide_a_run():
    data = DataConfig("m.csv", label="limb", where={"quality": ("A",)}, balance="region", fold=1)
    columns = ["image", "limb", "group", "fold", "exclude", "blank", "quality", "region"]
    assert used_columns(data, "classification") == columns
    columns = ["image", "mask", "ignore", "group", "split", "exclude", "blank"]
    assert used_columns(DataConfig("m.csv"), "segmentation") == columns
