"""A phantom dataset on disk: manifest, split, determinism, refusals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.data.manifest import SPLITS, Manifest, read_manifest
from kerasortho.data.phantom import PhantomSettings, generate_phantoms, take_picture
from kerasortho.data.phantom.generate import split_patients
from kerasortho.data.phantom.labels import LABELS
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_mask, read_radiograph


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_manifest_lists_every_picture(small: PhantomSettings, small_dataset: tuple[Path, Manifest]) -> None:
    folder, _ = small_dataset
    manifest = read_manifest(folder / "manifest.csv")  # checks that the files exist
    assert {"image", "mask", "fracture_mask", "bone_label_mask", "label", "group", "split", "region", "view"} <= set(
        manifest.columns
    )
    assert len(manifest.rows) == 64
    assert {row["label"] for row in manifest.rows} == {"upper", "lower"}
    assert len({row["group"] for row in manifest.rows}) == 32
    assert len(files_of(folder)) == 4 * 64 + 3
    assert json.loads((folder / "labels.json").read_text())["femur"] == LABELS["femur"]
    assert json.loads((folder / "phantom.json").read_text())["seed"] == small.seed


def test_groups_stay_in_one_split_and_limbs_are_balanced(small_dataset: tuple[Path, Manifest]) -> None:
    _, manifest = small_dataset
    splits = {(row["group"], row["split"]) for row in manifest.rows}
    assert len(splits) == 32
    counts = Counter((row["label"], row["split"]) for row in manifest.rows)
    for limb in ("upper", "lower"):
        shares = [counts[limb, split] / 32 for split in SPLITS]
        assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.07)  # one patient of 16 is 0.06


def test_one_patient_has_one_limb(small_dataset: tuple[Path, Manifest]) -> None:
    _, manifest = small_dataset
    assert len({(row["group"], row["label"], row["region"], row["side"]) for row in manifest.rows}) == 32


@pytest.mark.parametrize("patients", [1, 2, 5, 6, 40])
def test_small_sets_are_split_too(patients: int) -> None:
    splits = split_patients(patients, 0)
    assert len(splits) == patients
    assert set(splits) <= set(SPLITS)
    assert splits.count("train") >= 1
    if patients >= 6:
        assert set(splits) == set(SPLITS)


def test_files_do_not_depend_on_the_number_of_processes(
    small: PhantomSettings, small_dataset: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, _ = small_dataset
    generate_phantoms(tmp_path / "again", small, processes=2)
    assert files_of(tmp_path / "again") == files_of(folder)


def test_files_hold_the_pictures_and_masks(small: PhantomSettings, small_dataset: tuple[Path, Manifest]) -> None:
    folder, manifest = small_dataset
    bits = set()
    for number, row in enumerate(manifest.rows[:12]):
        picture = take_picture(number // 2, number % 2, size=small.size, seed=small.seed)
        read = read_radiograph(folder / row["image"])
        assert np.abs(read.pixels - picture.pixels).max() <= 0.501 / (2**picture.bits - 1)
        assert np.array_equal(read_mask(folder / row["mask"]), picture.mask)
        assert np.array_equal(read_mask(folder / row["fracture_mask"]), picture.fractured)
        assert np.array_equal(cv2.imread(str(folder / row["bone_label_mask"]), cv2.IMREAD_UNCHANGED), picture.labels)
        assert row["fracture"] == picture.fracture
        bits.add(picture.bits)
    assert bits == {8, 16}


def test_a_folder_with_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(KerasOrthoError, match="not empty"):
        generate_phantoms(tmp_path, PhantomSettings(patients=1))
    assert files_of(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(KerasOrthoError, match="is a file"):
        generate_phantoms(tmp_path / "out", PhantomSettings(patients=1))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("patients", 0, "patients must be"),
        ("views", -1, "views must be"),
        ("size", 8, "size must be"),
        ("seed", -1, "seed must be"),
        ("fractures", 1.5, "fractures must be"),
        ("extras", -0.1, "extras must be"),
        ("format", "dicm", 'Did you mean "dicom"'),
    ],
)
def test_wrong_settings_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(KerasOrthoError, match=message):
        PhantomSettings(**{field: value})  # type: ignore[arg-type]


def test_nothing_is_left_where_a_picture_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kerasortho.data.phantom.writing._png", full)
    with pytest.raises(KerasOrthoError, match="No space left"):
        generate_phantoms(tmp_path / "out", PhantomSettings(patients=1, views=1, size=32))
    assert set(files_of(tmp_path / "out")) == {"phantom.json", "labels.json"}


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "phantom", str(tmp_path / "out"), "--patients", "2", "--views", "1", "--size", "40", "--seed", "3"]
    assert main([*words, "--processes", "1"]) == 0
    assert "manifest.csv" in capsys.readouterr().out
    assert len(read_manifest(tmp_path / "out" / "manifest.csv").rows) == 2
    assert main(words) == 2
    assert "not empty" in " ".join(capsys.readouterr().err.split())
    assert main(["data", "phantom", str(tmp_path / "other"), "--format", "jpeg"]) == 2
    assert not (tmp_path / "other").exists()
