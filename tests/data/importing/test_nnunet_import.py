"""Datasets in nnU-Net's layout: PNG as its NaturalImage2DIO has them, NIfTI as SimpleITK and nibabel write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
import SimpleITK

from kerasortho.data.importing.importers import Imported
from kerasortho.data.importing.nnunet_import import import_nnunet
from kerasortho.data.manifest import Manifest, read_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_mask, read_mask_values

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
CODES = np.array([[0, 1, 2, 3], [0, 0, 1, 0], [2, 2, 0, 0]], np.uint8)
LABELS = {"background": 0, "bone": 1, "metal": 2, "ignore": 3}

Run = Callable[..., Imported]


def write(path: Path, values: np.ndarray) -> None:
    """Write values as the ending says: NIfTI as SimpleITK does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        image = SimpleITK.GetImageFromArray(values[None])
        image.SetSpacing([0.2, 0.3, 999.0])
        SimpleITK.WriteImage(image, str(path))
    else:
        assert cv2.imwrite(str(path), values)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function of pictures and labels by case (test cases begin with t) that writes and imports a dataset."""

    def call(
        cases: dict[str, tuple[np.ndarray | None, np.ndarray | None]], ending: str = ".png", **more: Any
    ) -> Imported:
        root = tmp_path / "Dataset001"
        for name, (picture, labels) in cases.items():
            part = "Ts" if name.startswith("t") else "Tr"
            if picture is not None:
                write(root / f"images{part}" / f"{name}_0000{ending}", picture)
            if labels is not None:
                write(root / f"labels{part}" / f"{name}{ending}", labels)
        content = {"channel_names": {"0": "xray"}, "labels": LABELS, "numTraining": 1, "file_ending": ending}
        (root / "dataset.json").write_text(json.dumps(content | more.pop("content", {})))
        return import_nnunet(root, tmp_path / "out" / "m.csv", **{"labels": ["bone"], "overwrite": True} | more)

    return call


def mask_of(manifest: Manifest, index: int = 0, column: str = "mask") -> np.ndarray:
    file = manifest.resolve(manifest.rows[index], column)
    assert file is not None
    return read_mask(file)


def test_png(run: Run, tmp_path: Path) -> None:
    imported = run({"hand_1": (PICTURE, CODES), "hand_2": (PICTURE, CODES * 0)})
    manifest = read_manifest(tmp_path / "out" / "m.csv")
    assert manifest.columns == ("image", "mask", "ignore", "exclude")
    assert manifest.rows[0]["image"] == "../Dataset001/imagesTr/hand_1_0000.png"
    assert np.array_equal(mask_of(manifest), CODES == 1)
    assert np.array_equal(mask_of(manifest, column="ignore"), CODES == 3)
    assert manifest.rows[1]["ignore"] == "" and not mask_of(manifest, 1).any()
    assert imported.notes == ("Marked: 1, doubtful: 3; everything else is background.",)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_nifti_of_simpleitk(run: Run, ending: str, tmp_path: Path) -> None:
    imported = run({"a": (PICTURE, CODES), "b": (PICTURE.astype(np.uint16) * 300, CODES)}, ending)
    manifest = read_manifest(tmp_path / "out" / "m.csv")
    assert dict(manifest.rows[0]) == {
        "image": "m-images/a.png",
        "mask": "m-masks/a.png",
        "ignore": "m-ignore/a.png",
        "row_spacing_mm": "0.3",
        "column_spacing_mm": "0.2",
        "exclude": "",
    }
    pictures = [read_mask_values(manifest.resolve(row, "image") or Path()) for row in manifest.rows]
    assert np.array_equal(pictures[0], PICTURE) and np.array_equal(pictures[1], PICTURE.astype(np.uint16) * 300)
    assert np.array_equal(mask_of(manifest), CODES == 1)
    assert any("written as PNG" in note for note in imported.notes)


def test_values_that_png_does_not_have_are_stretched(run: Run) -> None:
    imported = run({"a": (PICTURE.astype(np.float32) / 7 - 3, CODES), "b": (PICTURE.astype(np.float32), CODES)}, ".nii")
    pictures = [read_mask_values(imported.manifest.resolve(row, "image") or Path()) for row in imported.manifest.rows]
    assert pictures[0].min() == 0 and pictures[0].max() == 65535 and np.array_equal(pictures[1], PICTURE)
    assert (
        "Noticed, values stretched to 0-65535, for they are no whole numbers in that range: 1 (a.png)."
        in imported.notes
    )


def test_turned_pictures_must_be_decided(run: Run, tmp_path: Path) -> None:
    """nibabel's users write an identity affine: right and front are positive, as no radiograph is looked at."""
    root = tmp_path / "Dataset001"
    for folder, name, values in (("imagesTr", "a_0000", PICTURE), ("labelsTr", "a", CODES)):
        (root / folder).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(values.T[..., None], np.eye(4)), root / folder / f"{name}.nii.gz")
    with pytest.raises(KerasOrthoError, match=r"1 picture of 1 may lie turned.*lead to RA 1.*--orientation stored"):
        run({}, ".nii.gz")
    assert not (tmp_path / "out").exists()
    assert np.array_equal(mask_of(run({}, ".nii.gz", orientation="stored").manifest), CODES == 1)
    assert np.array_equal(mask_of(run({}, ".nii.gz", orientation="affine").manifest), (CODES == 1)[::-1, ::-1])
    nibabel.save(nibabel.Nifti1Image(CODES.T[..., None], np.diag([-1, -1, 1, 1])), root / "labelsTr" / "a.nii.gz")
    with pytest.raises(KerasOrthoError, match="mask: it lies LP, but the image RA"):
        run({}, ".nii.gz", orientation="stored")


def test_labels_and_regions_are_chosen(run: Run) -> None:
    with pytest.raises(KerasOrthoError, match=r"several labels.*bone \(value 1\), metal \(value 2\)\.$"):
        run({"a": (PICTURE, CODES)}, labels=[])
    with pytest.raises(KerasOrthoError, match='Did you mean "bone"'):
        run({"a": (PICTURE, CODES)}, labels=["bones"])
    regions = {"labels": {"background": 0, "all": [1, 2], "metal": 2, "ignore": 3}, "regions_class_order": [1, 2]}
    manifest = run({"a": (PICTURE, CODES)}, labels=["all"], content=regions).manifest
    assert np.array_equal(mask_of(manifest), np.isin(CODES, [1, 2]))
    one = {"labels": {"background": 0, "bone": 1}}
    assert mask_of(run({"a": (PICTURE, CODES % 2 * (CODES < 3))}, labels=[], content=one).manifest).sum() == 2


def test_tests_and_splits(run: Run, tmp_path: Path) -> None:
    cases = {name: (PICTURE, CODES) for name in ("a", "b", "c", "t1")} | {"t2": (PICTURE, None)}
    rows = run(cases).manifest.rows
    assert [row["split"] for row in rows] == ["", "", "", "test", "test"] and "fold" not in rows[0]
    assert [bool(row["mask"]) for row in rows] == [True] * 4 + [False]
    splits = tmp_path / "splits_final.json"
    splits.write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    assert [row["split"] for row in run(cases, splits=splits).manifest.rows] == [
        "train",
        "train",
        "val",
        "test",
        "test",
    ]
    splits.write_text(json.dumps([{"train": ["a", "x"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}]))
    imported = run(cases, splits=splits)
    assert [row["fold"] for row in imported.manifest.rows] == ["1", "", "0", "", ""]
    assert "splits_final.json puts 1 case nowhere: b." in imported.notes
    for folds, message in (
        ([{"train": ["a"], "val": ["a"]}], "train and val: a"),
        ([{"train": [], "val": ["a"]}, {"train": [], "val": ["a"]}], "val of two folds: a"),
        ({"train": []}, r"is no splits_final\.json"),
    ):
        splits.write_text(json.dumps(folds))
        with pytest.raises(KerasOrthoError, match=message):
            run(cases, splits=splits)


def test_partners_are_required(run: Run) -> None:
    with pytest.raises(KerasOrthoError, match="1 file of labelsTr has no image in imagesTr: b"):
        run({"a": (PICTURE, CODES), "b": (None, CODES)})
    with pytest.raises(KerasOrthoError, match="1 image of imagesTr has no labels in labelsTr: c"):
        run({"b": (PICTURE, CODES), "c": (PICTURE, None)})


def test_partners_may_be_missing(run: Run) -> None:
    imported = run({"a": (PICTURE, CODES), "b": (PICTURE, None)}, skip_unmatched=True)
    assert len(imported.manifest.rows) == 1 and "They are left out." in imported.notes[0]


@pytest.mark.parametrize("ending", [".png", ".nii"])
def test_what_does_not_fit_is_excluded(run: Run, ending: str) -> None:
    cases = {"a": (PICTURE, CODES), "b": (PICTURE, CODES.T.copy()), "c": (PICTURE, CODES + 4)}
    reasons = [row["exclude"] for row in run(cases, ending).manifest.rows]
    assert reasons == [
        "",
        "mask: it has 3x4 pixels, but the image has 4x3",
        "mask: it holds 4, 5, 6, 7, which dataset.json does not name",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"channel_names": {"0": "R", "1": "G"}}, "a radiograph has one channel"),
        ({"labels": {"0": "background", "1": "bone"}}, "must give every name its value"),
        ({"labels": {"background": 1, "bone": 0}}, "background must be 0"),
        ({"labels": {"background": 0, "bone": "x"}}, "label 'bone' must be a number"),
        ({"labels": {"background": 0}}, "no labels: there is nothing to mark"),
        ({"file_ending": ".mha"}, r"file_ending must be one of \.png.*Received: '\.mha'"),
        ({"dataset": {}}, "names its files one by one"),
    ],
)
def test_other_datasets_are_refused(run: Run, content: dict[str, Any], message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        run({"a": (PICTURE, CODES)}, labels=[], content=content)


def test_no_dataset_and_second_channels(run: Run, tmp_path: Path) -> None:
    (tmp_path / "raw" / "Dataset002").mkdir(parents=True)
    with pytest.raises(KerasOrthoError, match=r"dataset\.json is missing"):
        import_nnunet(tmp_path / "raw", tmp_path / "m.csv")
    (tmp_path / "raw" / "Dataset002" / "dataset.json").write_text('{"modality": {"0": "CT"}}')
    with pytest.raises(KerasOrthoError, match=r'Did you mean ".*Dataset002"'):
        import_nnunet(tmp_path / "raw", tmp_path / "m.csv")
    with pytest.raises(KerasOrthoError, match=r"nnU-Net version 1.*nnUNetv2_convert_old_nnUNet_dataset"):
        import_nnunet(tmp_path / "raw" / "Dataset002", tmp_path / "m.csv")
    write(tmp_path / "Dataset001" / "imagesTr" / "a_0001.png", PICTURE)
    with pytest.raises(KerasOrthoError, match="is a second channel"):
        run({"a": (PICTURE, CODES)})
