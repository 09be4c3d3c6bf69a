"""From stored DICOM values to brightness: modality LUT, VOI LUT or window, inversion (PS3.3 C.11.1, C.11.2, C.11.6).

Stored values have at most 16 bits, so the whole chain is worked out once for every value between the smallest and the
largest, in float64, and the image then looked up in the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.dicom_values import first_number, text_of, value_of

PERCENTILES = (0.5, 99.5)  # shown from black to white where a file has neither a VOI LUT nor a window


@dataclass
class Display:
    """How an image came to [0, 1]: ``voi`` is "lut", "window" or "percentiles"; ``window`` is centre and width."""

    voi: str = "percentiles"
    window: tuple[float, float] | None = None
    voi_function: str | None = None
    inverted: bool = False
    warnings: list[str] = field(default_factory=list)


def to_brightness(values: np.ndarray, dataset: Any) -> tuple[np.ndarray, Display]:
    """Turn stored integer ``values`` (H, W) into (H, W) float32 in [0, 1] as the dataset says, and tell how.

    A VOI window maps to [0, 1] from edge to edge, a VOI LUT by its nominal range 0 .. 2**bits - 1. Pixels of
    PixelPaddingValue (to PixelPaddingRangeLimit) count for no percentile and become 0.
    Raises KerasOrthoError for a lookup table without data.
    """
    display = Display()
    lowest = int(values.min())
    index = values.astype(np.int32) - lowest
    counts = np.bincount(index.ravel())
    stored = np.arange(lowest, lowest + counts.size)
    padding = _padding(stored, counts, dataset, display)
    modality = _modality_values(stored, dataset, display)
    brightness = _voi_values(modality, np.where(padding, 0, counts), dataset, display)
    display.inverted = _is_inverted(dataset, display)
    if display.inverted:
        brightness = 1.0 - brightness
    brightness[padding] = 0.0
    return brightness.astype(np.float32)[index], display


def _padding(stored: np.ndarray, counts: np.ndarray, dataset: Any, display: Display) -> np.ndarray:
    """Tell which stored values are padding (PS3.3 C.7.5.1.1.2)."""
    value = first_number(dataset, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.size, bool)
    limit = first_number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    padding = (stored >= low) & (stored <= high)
    if not counts[~padding].any():
        display.warnings.append("Every pixel has the PixelPaddingValue, which was therefore ignored.")
        return np.zeros(stored.size, bool)
    return padding


def _modality_values(stored: np.ndarray, dataset: Any, display: Display) -> np.ndarray:
    """Apply the modality LUT or the rescale slope and intercept (PS3.3 C.11.1)."""
    if sequence := value_of(dataset, "ModalityLUTSequence"):
        return _look_up(stored, sequence[0], dataset, "ModalityLUTSequence")[0]
    slope, intercept = (first_number(dataset, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        display.warnings.append("RescaleSlope 0 was ignored.")
        slope = None
    return stored * (1.0 if slope is None else slope) + (intercept or 0.0)


def _voi_values(modality: np.ndarray, counts: np.ndarray, dataset: Any, display: Display) -> np.ndarray:
    """Map modality values to [0, 1] by the first VOI LUT, else the first window, else percentiles of the image."""
    if sequence := value_of(dataset, "VOILUTSequence"):
        display.voi = "lut"
        values, top = _look_up(modality, sequence[0], dataset, "VOILUTSequence")
        return values / top
    shown = _windowed(modality, dataset, display)
    if shown is not None:
        occurring = counts > 0
        if np.ptp(shown[occurring]) > 0 or np.ptp(modality[occurring]) == 0:
            return shown
        display.warnings.append("The window shows nothing of the image; percentiles were used instead.")
    display.voi, display.window, display.voi_function = "percentiles", None, None
    low, high = _percentiles(modality, counts, PERCENTILES)
    return np.clip((modality - low) / max(high - low, np.finfo(np.float64).tiny), 0.0, 1.0)


def _windowed(modality: np.ndarray, dataset: Any, display: Display) -> np.ndarray | None:
    """Apply the first window by its VOI LUT function, LINEAR where none is named (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = (first_number(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    function = (text_of(dataset, "VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        display.warnings.append("The VOILUTFunction is unknown; LINEAR was used.")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        display.warnings.append(f"The window width {width:g} is impossible; percentiles were used instead.")
        return None
    display.voi, display.window, display.voi_function = "window", (center, width), function
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (modality - center) / width, -700.0, 700.0))))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return (modality > center).astype(np.float64)
    return np.clip((modality - center) / width + 0.5, 0.0, 1.0)


def _look_up(values: np.ndarray, item: Any, dataset: Any, name: str) -> tuple[np.ndarray, float]:
    """Look ``values`` up in a LUT item; return the results and the top of its nominal range."""
    descriptor, data = value_of(item, "LUTDescriptor"), value_of(item, "LUTData")
    if descriptor is None or len(descriptor) != 3 or data is None:
        raise KerasOrthoError(f"The {name} of the file is damaged: LUTDescriptor or LUTData is missing.")
    entries, first, bits = (int(number) for number in descriptor)
    entries = entries % 65536 or 65536
    signed = value_of(dataset, "PixelRepresentation") == 1 or values.min() < 0
    if signed and first > 32767:
        first -= 65536
    table = _lut_data(data, entries, little_endian=dataset.original_encoding[1] is not False)
    if table.size == 0:
        raise KerasOrthoError(f"The {name} of the file is damaged: its LUTData is empty. Export the image again.")
    place = np.clip(np.rint(values).astype(np.int64) - first, 0, table.size - 1)
    top = max((1 << min(max(bits, 1), 16)) - 1, int(table.max()))
    return table[place].astype(np.float64), float(top)


def _lut_data(data: Any, entries: int, *, little_endian: bool) -> np.ndarray:
    """Return the entries of a LUT: words, or bytes where there are too few words."""
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little_endian else ">u2")
    else:
        words = np.atleast_1d(np.asarray(data, np.int64)).astype("<u2")
    if words.size < entries <= 2 * words.size:
        return words.astype("<u2").view(np.uint8)[:entries]
    return words[:entries]


def _percentiles(values: np.ndarray, counts: np.ndarray, percents: tuple[float, float]) -> tuple[float, float]:
    """Return percentiles of ``values`` occurring ``counts`` times each: linear between order statistics, as numpy."""
    order = np.argsort(values, kind="stable")
    last = np.cumsum(counts[order])
    results = []
    for percent in percents:
        position = (last[-1] - 1) * percent / 100
        ranks = (int(position), np.ceil(position))
        below, above = (values[order[np.searchsorted(last, rank, side="right")]] for rank in ranks)
        results.append(float(below + (above - below) * (position - int(position))))
    return results[0], results[1]


def _is_inverted(dataset: Any, display: Display) -> bool:
    """Tell whether the smallest value is white.

    Images for presentation carry MONOCHROME1 together with the shape INVERSE (PS3.3 C.8.11.1): the two describe one
    inversion, and either of them is enough.
    """
    monochrome1 = text_of(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    shape = (text_of(dataset, "PresentationLUTShape") or "").upper()
    if monochrome1 and shape == "IDENTITY":
        display.warnings.append("MONOCHROME1 contradicts PresentationLUTShape IDENTITY; it was inverted.")
    return monochrome1 or shape == "INVERSE"
