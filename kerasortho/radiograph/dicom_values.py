"""Reading single DICOM attributes from files that may be damaged, and the pixel spacing among them."""

from __future__ import annotations

import math
from typing import Any

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.01, 10.0
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def value_of(dataset: Any, keyword: str) -> Any:
    """Return an attribute's value, None where it is absent, empty or cannot be read."""
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else value
    except Exception:  # pydicom converts on access: a damaged value may raise anything
        return None


def text_of(dataset: Any, keyword: str) -> str | None:
    """Return an attribute as stripped text, the first one where there are several, or None.

    Text with control characters is none: a damaged length has then swallowed what follows, the patient's name perhaps.
    """
    value = value_of(dataset, keyword)
    if isinstance(value, (list, tuple)) or hasattr(value, "insert"):
        value = value[0] if len(value) else None
    text = str(value).strip(" \t\r\n\0") if isinstance(value, (str, int, float)) else ""
    return text if text and text.isprintable() else None


def numbers_of(dataset: Any, keyword: str) -> tuple[float, ...]:
    """Return an attribute as finite numbers, empty where it is absent or not all are."""
    value = value_of(dataset, keyword)
    try:
        several = hasattr(value, "__len__") and not isinstance(value, str)
        numbers = tuple(float(item) for item in (value if several else [value]))
    except (TypeError, ValueError, OverflowError):
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()


def first_number(dataset: Any, keyword: str) -> float | None:
    """Return the first number of an attribute, or None."""
    numbers = numbers_of(dataset, keyword)
    return numbers[0] if numbers else None


def integer_of(dataset: Any, keyword: str, default: int = 0) -> int:
    """Return an attribute as an integer, or ``default``."""
    number = first_number(dataset, keyword)
    return default if number is None else int(number)


def pixel_spacing(dataset: Any) -> tuple[tuple[float, float] | None, str | None, list[str]]:
    """Return the spacing (row, column) in mm, the attribute it comes from, and warnings (PS3.3 10.7.1.3).

    PixelSpacing comes first: in a projection radiograph it is there when somebody calibrated the image to the patient
    (PixelSpacingCalibrationType). ImagerPixelSpacing is the detector's and too large by the magnification;
    NominalScannedPixelSpacing is that of a scanned film. Zero, absurd (outside 0.01-10 mm) and damaged values are none.
    """
    warnings = []
    for keyword in _SPACINGS:
        if value_of(dataset, keyword) is None:
            continue
        pair = numbers_of(dataset, keyword)
        if len(pair) == 2 and all(SMALLEST_SPACING_MM <= side <= LARGEST_SPACING_MM for side in pair):
            if keyword == "ImagerPixelSpacing":
                warnings.append("ImagerPixelSpacing holds at the detector: lengths in the patient are magnified.")
            return (pair[0], pair[1]), keyword, warnings
        shown = " x ".join(f"{side:g}" for side in pair) if pair else "not two numbers"
        warnings.append(f"{keyword} ({shown}) is no possible spacing and was ignored.")
    return None, None, warnings
