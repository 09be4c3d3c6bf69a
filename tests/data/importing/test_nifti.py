"""2-D NIfTI files, written by nibabel and by SimpleITK, read as SimpleITK reads them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from kerasortho.data.importing.nifti import read_nifti, read_nifti_header
from kerasortho.errors import KerasOrthoError

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)


def theirs(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).squeeze()


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 1, 3), (1, 4, 3)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_axes_are_those_of_simpleitk(tmp_path: Path, shape: tuple[int, ...], ending: str) -> None:
    path = tmp_path / f"a{ending}"
    affine = np.diag([-0.2, -0.3, 0.4, 1.0])
    nibabel.save(nibabel.Nifti1Image(PICTURE.T.reshape(shape), affine), path)
    values, header = read_nifti(path)
    assert np.array_equal(values, PICTURE) and np.array_equal(values, theirs(path)) and values.dtype == np.uint8
    sides = [0.2, 0.3, 0.4]
    column, row = (sides[axis] for axis in range(len(shape)) if shape[axis] != 1)
    assert header.shape == (3, 4) and header.spacing_mm == pytest.approx((row, column))


@pytest.mark.parametrize("array", [PICTURE, PICTURE[None], PICTURE.astype(np.float32), PICTURE.astype(np.int16) - 5])
def test_files_of_simpleitk_lie_upright(tmp_path: Path, array: np.ndarray) -> None:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing([0.2, 0.3, 999.0][: array.ndim])
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    values, header = read_nifti(tmp_path / "a.nii.gz")
    assert np.array_equal(values, array.squeeze()) and header.directions == "LP" and header.plain
    assert header.spacing_mm == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize(
    ("plane", "upright"), [(2, "LPS"), (1, "LIP"), (0, "PIL")], ids=["axial", "frontal", "lateral"]
)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_turned_upright_as_simpleitk_does(tmp_path: Path, plane: int, upright: str, signs: tuple[int, ...]) -> None:
    shape = [4, 3, 5]
    shape[plane] = 1
    values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*signs, 1.0]) * 0.5), path)
    turned = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), upright)
    found, _ = read_nifti(path, "affine")
    assert np.array_equal(found, SimpleITK.GetArrayFromImage(turned).squeeze())
    assert np.array_equal(read_nifti(path)[0], theirs(path))


def test_swapped_axes_are_turned_as_simpleitk_does(tmp_path: Path) -> None:
    affine = np.array([[0, 0.5, 0, 0], [-0.5, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(PICTURE.T[..., None], affine), tmp_path / "a.nii")
    turned = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(tmp_path / "a.nii")), "LPS")
    assert not read_nifti_header(tmp_path / "a.nii").plain
    assert np.array_equal(read_nifti(tmp_path / "a.nii", "affine")[0], SimpleITK.GetArrayFromImage(turned)[0])


def test_oblique_and_untold(tmp_path: Path) -> None:
    turn = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    nibabel.save(nibabel.Nifti1Image(PICTURE.T[..., None], affine), tmp_path / "a.nii")
    assert read_nifti_header(tmp_path / "a.nii").directions == "oblique"
    with pytest.raises(KerasOrthoError, match="lies obliquely"):
        read_nifti(tmp_path / "a.nii", "affine")
    nibabel.save(nibabel.Nifti1Image(PICTURE.T[..., None], None), tmp_path / "b.nii")
    header = read_nifti_header(tmp_path / "b.nii")
    assert header.directions == "" and header.plain and header.spacing_mm is None


def test_units_and_scaling(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(PICTURE.T[..., None], np.diag([-200.0, -300.0, 1.0, 1.0]))
    image.header.set_xyzt_units("micron")
    image.header.set_slope_inter(2.0, 1.0)
    nibabel.save(image, tmp_path / "a.nii")
    values, header = read_nifti(tmp_path / "a.nii")
    assert header.spacing_mm == pytest.approx((0.3, 0.2)) and np.allclose(
        values, nibabel.load(tmp_path / "a.nii").get_fdata()[..., 0].T
    )


@pytest.mark.parametrize(
    ("shape", "message"), [((4, 3, 2), "4 x 3 x 2 values are no single picture"), ((4, 3, 1, 2), "no single picture")]
)
def test_volumes_are_refused(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(KerasOrthoError, match=message):
        read_nifti(tmp_path / "a.nii")


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no gzip at all")
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((40, 30)), np.eye(4)), tmp_path / "b.nii.gz")
    data = (tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(data[: len(data) // 2])
    for name in ("a", "b"):
        with pytest.raises(KerasOrthoError, match=rf"{name}\.nii\.gz: .*damaged"):
            read_nifti(tmp_path / f"{name}.nii.gz")
    with pytest.raises(KerasOrthoError, match="no such file"):
        read_nifti(tmp_path / "none.nii")
