"""Two-dimensional NIfTI files, as nnU-Net has them: rows and columns, spacing, and how the picture lies.

The format: NIfTI-1 and NIfTI-2, nifti.nimh.nih.gov. Directions in the patient are DICOM's: L, P and S
are positive (PS3.3 C.7.6.2).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from kerasortho.errors import KerasOrthoError

if TYPE_CHECKING:
    import nibabel

NIFTI_SUFFIXES = (".nii", ".nii.gz")
UPRIGHT = ("LP", "LI", "PI")
"""Directions of columns and rows of a picture that lies as it is looked at: axial, frontal, lateral."""

_ALIGNED = 0.999  # cosine: within 2.5 degrees
_POSITIVE, _NEGATIVE = "LPS", "RAI"
_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}

Orientation = Literal["stored", "affine"]


@dataclass(frozen=True)
class NiftiHeader:
    """What a 2-D NIfTI file says of its picture.

    shape: (H, W). spacing_mm: (row, column), None where unknown. directions: where columns and rows lead, such as
    ``LP``; ``oblique`` where that is no direction of the body, '' where the file does not tell.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    directions: str

    @property
    def plain(self) -> bool:
        """Tell whether the picture lies as it is looked at, as far as the file tells."""
        return self.directions in ("", *UPRIGHT)


def require_nibabel() -> None:
    """Raise KerasOrthoError where nibabel, which reads NIfTI, is not installed."""
    try:
        import nibabel  # noqa: F401
    except ImportError as error:
        raise KerasOrthoError(
            "Reading NIfTI needs nibabel, which is not installed. Install it with: pip install 'kerasortho[nifti]'"
        ) from error


def read_nifti_header(path: str | os.PathLike[str]) -> NiftiHeader:
    """Read the header of a 2-D NIfTI file. Raises KerasOrthoError, beginning with the path, as `read_nifti` does."""
    return _header(_load(path), path)


def read_nifti(path: str | os.PathLike[str], orientation: Orientation = "stored") -> tuple[np.ndarray, NiftiHeader]:
    """Read a 2-D NIfTI file.

    The first axis of a file, x, runs along the rows: the picture is the transposed array, as SimpleITK and nnU-Net take
    it. An axis of length one may be anywhere.

    Args:
        path: the file.
        orientation: "stored" keeps rows and columns as they are; "affine" turns and mirrors the picture so that it lies
            as it is looked at (right of the patient at the left, head or front at the top).

    Returns:
        (H, W) array of the file's values, scaled as its header says, and the header as it is in the file.

    Raises:
        KerasOrthoError: no such file, no NIfTI, more than one slice or channel, colours; with "affine", a picture that
            lies obliquely.
    """
    image = _load(path)
    header = _header(image, path)
    try:
        values = np.asanyarray(image.dataobj).squeeze().T
    except (OSError, EOFError, ValueError) as error:
        raise KerasOrthoError(f"{path}: the NIfTI file is damaged ({error}). Get it again.") from error
    if orientation == "affine" and not header.plain:
        values = _upright(values, header.directions, path)
    return values, header


def _load(path: str | os.PathLike[str]) -> nibabel.Nifti1Image:
    require_nibabel()
    import nibabel

    try:
        image = nibabel.load(path)
    except FileNotFoundError:
        raise KerasOrthoError(f"{path}: there is no such file. Check the path.") from None
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise KerasOrthoError(f"{path}: this is no NIfTI file, or a damaged one ({error}).") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise KerasOrthoError(f"{path}: this is a {type(image).__name__}, and no NIfTI file.")
    return image


def _header(image: nibabel.Nifti1Image, path: str | os.PathLike[str]) -> NiftiHeader:
    axes = [axis for axis, length in enumerate(image.shape) if length != 1]
    if len(axes) != 2 or axes[1] > 2:
        size = " x ".join(str(length) for length in image.shape)
        raise KerasOrthoError(f"{path}: {size} values are no single picture of rows and columns.")
    if image.get_data_dtype().kind not in "iuf":
        raise KerasOrthoError(f"{path}: its values are {image.get_data_dtype()}; grey values are needed.")
    column, row = axes
    return NiftiHeader(
        (image.shape[row], image.shape[column]), _spacing(image, row, column), _directions(image, column, row)
    )


def _spacing(image: nibabel.Nifti1Image, row: int, column: int) -> tuple[float, float] | None:
    scale = _MM_PER_UNIT.get(image.header.get_xyzt_units()[0], 1.0)
    zooms = image.header.get_zooms()
    spacing = (float(zooms[row]) * scale, float(zooms[column]) * scale)
    # 1 x 1 is what programs write that know none; no radiograph has pixels of a millimetre.
    return spacing if spacing != (1.0, 1.0) and min(spacing) > 0 and max(spacing) < 100 else None


def _directions(image: nibabel.Nifti1Image, column: int, row: int) -> str:
    """Return where columns and rows lead in the patient; '' where no transformation is given."""
    if not int(image.header["qform_code"]) and not int(image.header["sform_code"]):
        return ""
    affine = image.affine[:3, :3] * np.array([[-1.0], [-1.0], [1.0]])  # NIfTI's R and A are DICOM's -L and -P
    letters = []
    for axis in (column, row):
        vector = affine[:, axis] / np.linalg.norm(affine[:, axis])
        major = int(np.abs(vector).argmax())
        if not abs(vector[major]) > _ALIGNED:
            return "oblique"
        letters.append((_POSITIVE if vector[major] > 0 else _NEGATIVE)[major])
    return "".join(letters)


def _upright(values: np.ndarray, directions: str, path: str | os.PathLike[str]) -> np.ndarray:
    """Turn and mirror (H, W) values so that columns and rows lead as one of `UPRIGHT` says."""
    opposite = dict(zip(_POSITIVE + _NEGATIVE, _NEGATIVE + _POSITIVE, strict=True))
    for wanted in UPRIGHT:
        for found, turned in ((directions, values), (directions[::-1], values.T)):
            if all(have in (want, opposite[want]) for have, want in zip(found, wanted, strict=False)):
                flipped = tuple(axis for axis in (0, 1) if found[1 - axis] != wanted[1 - axis])
                return np.ascontiguousarray(np.flip(turned, flipped))
    raise KerasOrthoError(f"{path}: the picture lies obliquely in the patient, and cannot be turned upright.")
