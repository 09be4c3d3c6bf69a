from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_radiograph
from kerasortho.radiograph.reading import decode_radiograph

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_presentation_lut, apply_voi_lut  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
PACKAGED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def ramp(dtype: type = np.uint16, low: int = 0, high: int = 4095, shape: tuple[int, int] = (48, 33)) -> np.ndarray:
    return np.linspace(low, high, shape[0] * shape[1]).round().astype(dtype).reshape(shape)


def by_pydicom(path: Path) -> np.ndarray:
    """The same image by pydicom's own functions, brought to [0, 1] by the output range they document."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    values = apply_modality_lut(dataset.pixel_array, dataset)
    with np.errstate(over="ignore"):
        shown = np.asarray(apply_voi_lut(values, dataset), np.float64)
    if dataset.get("VOILUTSequence"):
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif dataset.get("ModalityLUTSequence"):
        low, high = 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowWidth" in dataset:
        signed = dataset.PixelRepresentation
        low, high = (-(2 ** (dataset.BitsStored - 1)) if signed else 0), 2 ** (dataset.BitsStored - signed) - 1
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        low, high = low * slope + intercept, high * slope + intercept
    else:
        kept = shown[dataset.pixel_array != dataset.get("PixelPaddingValue", 1 << 20)]
        low, high = np.percentile(kept, [0.5, 99.5])
    shown = np.clip((shown - low) / (high - low), 0, 1)
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    shown = 1 - shown if inverse else shown
    return np.where(dataset.pixel_array == dataset.get("PixelPaddingValue", 1 << 20), 0, shown)


def lut(first: int, data: list[int], bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(data), first, bits])
    item.add_new("LUTData", "US", data)
    return Sequence([item])


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_pydicoms_own_files_are_read_as_pydicom_reads_them_or_refused(path):
    """Grey single frames of 8 and 16 bits must be read, everything else must be refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
    wanted = (
        "PixelData" in dataset
        and dataset.get("SamplesPerPixel") == 1
        and dataset.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
        and dataset.get("BitsAllocated") in (8, 16)
        and str(dataset.get("NumberOfFrames") or 1) == "1"
        and "truncated" not in path.name
        and "embedded-sequence-delimiter" not in path.name  # a compressed image of 256 x 3,722,445,056: a bomb
    )
    if not wanted:
        with pytest.raises(KerasOrthoError):
            read_radiograph(path)
        return
    pixels = read_radiograph(path).pixels
    if path.name in ("JPEG-lossy.dcm", "JPGExtended.dcm"):  # 12 bits: pydicom itself cannot; its tests know two values
        assert pixels[420, 140] > pixels[230, 120] > 0 and pixels.shape == (1024, 256)
        return
    np.testing.assert_allclose(pixels, by_pydicom(path), atol=1e-6)


def test_twelve_bit_jpeg_has_the_values_that_pydicoms_tests_expect():
    pytest.importorskip("gdcm")
    from kerasortho.radiograph.dicom_pixels import stored_values

    path = next(path for path in PACKAGED if path.name == "JPEG-lossy.dcm")
    values = stored_values(pydicom.dcmread(path), (1024, 256))
    assert (values[420, 140], values[230, 120]) == (244, 95)


def test_real_monochrome1_radiograph_has_bright_bone(real_data: Path):
    path = real_data / "data" / "dicom" / "RG3_J2KI.dcm"
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, by_pydicom(path), atol=1e-6)
    shaft, air = radiograph.pixels[600:900, 780:860], radiograph.pixels[600:900, 480:560]
    assert shaft.mean() > air.mean() + 0.3
    assert radiograph.tags["photometric"] == "MONOCHROME1" and radiograph.tags["inverted"]
    assert radiograph.tags["window"] == (550.0, 1024.0) and radiograph.spacing_mm is None


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize(
    "values",
    [ramp(np.uint8, 0, 255), ramp(np.uint16), ramp(np.int16, -1000, 3000), ramp(np.uint16, shape=(3, 3))],
    ids=["uint8", "uint16", "int16", "odd"],
)
def test_uncompressed(make_dicom, syntax, values):
    window = {"WindowCenter": float(values.max()) / 2, "WindowWidth": float(values.max()) / 2 + 1}
    path = make_dicom(values, syntax=syntax, RescaleSlope=1, RescaleIntercept=-24, **window)
    np.testing.assert_allclose(read_radiograph(path).pixels, by_pydicom(path), atol=1e-6)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("values", [ramp(), ramp(np.int16, -2000, 2000)], ids=["unsigned", "signed"])
@pytest.mark.parametrize("center, width", [(1200, 800), (100.5, 37.25), (0, 1), (5000, 9000)])
def test_windows(make_dicom, function, values, center, width):
    more = {"VOILUTFunction": function} if function else {}
    path = make_dicom(values, WindowCenter=center, WindowWidth=width, RescaleSlope=0.5, RescaleIntercept=10, **more)
    if (center, width) == (0, 1) and function in (None, "LINEAR"):  # a threshold; pydicom divides by 0 there
        expected = (values * 0.5 + 10 > -0.5).astype(float)
    else:
        expected = by_pydicom(path)
    if np.ptp(expected) == 0:
        assert "window shows nothing" in read_radiograph(path).warnings[0]
    else:
        np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=1e-6)


def test_first_of_several_windows(make_dicom):
    path = make_dicom(ramp(), WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    radiograph = read_radiograph(path)
    assert radiograph.tags["window"] == (1000.0, 500.0) and radiograph.tags["voi"] == "window"
    np.testing.assert_allclose(radiograph.pixels, by_pydicom(path), atol=1e-6)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_lut_comes_before_the_window(make_dicom, syntax, bits):
    table = (np.linspace(0, 1, 3000) ** 2 * (2**bits - 1)).astype(int).tolist()
    path = make_dicom(ramp(), syntax=syntax, VOILUTSequence=lut(200, table, bits), WindowCenter=5, WindowWidth=5)
    radiograph = read_radiograph(path)
    expected = np.array(table)[np.clip(ramp().astype(int) - 200, 0, 2999)] / (2**bits - 1)
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-6)
    if bits != 8:  # pydicom 3.0 keeps the index in the table's type: 8-bit tables beyond 256 entries wrap around
        np.testing.assert_allclose(radiograph.pixels, by_pydicom(path), atol=1e-6)
    assert radiograph.tags["voi"] == "lut" and radiograph.pixels.min() == 0 and radiograph.pixels.max() == 1


def test_voi_lut_for_signed_values_and_modality_lut(make_dicom):
    table = np.linspace(0, 1023, 2000).astype(int).tolist()
    signed = make_dicom(ramp(np.int16, -1500, 1500), VOILUTSequence=lut(-1000, table, 10))
    pixels = read_radiograph(signed).pixels
    expected = np.array(table)[np.clip(ramp(np.int16, -1500, 1500).astype(int) + 1000, 0, 1999)] / 1023
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    both = make_dicom(ramp(), ModalityLUTSequence=lut(100, table[::-1], 16), WindowCenter=400, WindowWidth=600)
    np.testing.assert_allclose(read_radiograph(both).pixels, by_pydicom(both), atol=1e-6)


def test_damaged_luts_are_explained(make_dicom):
    with pytest.raises(KerasOrthoError, match="VOILUTSequence of the file is damaged"):
        read_radiograph(make_dicom(ramp(), VOILUTSequence=Sequence([Dataset()])))


@pytest.mark.parametrize(
    "photometric, shape, inverted",
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_inversion_happens_once(make_dicom, photometric, shape, inverted):
    more = {"PresentationLUTShape": shape} if shape else {}
    path = make_dicom(ramp(), PhotometricInterpretation=photometric, WindowCenter=2048, WindowWidth=4096, **more)
    radiograph = read_radiograph(path)
    rises = radiograph.pixels[0, 0] < radiograph.pixels[-1, -1]
    assert rises != inverted and radiograph.tags["inverted"] == inverted
    assert bool(radiograph.warnings) == ((photometric, shape) == ("MONOCHROME1", "IDENTITY"))
    if photometric == "MONOCHROME1" and shape == "INVERSE":
        dataset = pydicom.dcmread(path)
        expected = apply_presentation_lut(dataset.pixel_array.astype(np.float64), dataset) / 4095
        np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-3)


def test_without_a_window_percentiles_of_what_is_not_padding(make_dicom):
    values = ramp(np.uint16, 1000, 3000, shape=(100, 100))
    values[:40] = 0
    radiograph = read_radiograph(make_dicom(values, PixelPaddingValue=0))
    low, high = np.percentile(values[40:], [0.5, 99.5])
    expected = np.clip((values - low) / (high - low), 0, 1)
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-6)
    assert radiograph.tags["voi"] == "percentiles"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_even_after_inversion(make_dicom, photometric):
    values = ramp(np.uint16, 1000, 3000, shape=(50, 50))
    values[:10], values[10:20] = 0, 5
    more = {"PixelPaddingValue": 5, "PixelPaddingRangeLimit": 0, "PhotometricInterpretation": photometric}
    pixels = read_radiograph(make_dicom(values, **more)).pixels
    assert (pixels[:20] == 0).all() and pixels[20:].mean() == pytest.approx(0.5, abs=0.02)


def test_signed_padding_in_implicit_files(make_dicom):
    values = ramp(np.int16, -500, 1500)
    values[:10] = -2000
    path = make_dicom(values, syntax=IMPLICIT)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.save_as(path)
    assert (read_radiograph(path).pixels[:10] == 0).all()


def test_all_padding_is_no_padding(make_dicom):
    radiograph = read_radiograph(make_dicom(np.full((8, 8), 7, np.uint16), PixelPaddingValue=7))
    assert "PixelPaddingValue" in radiograph.warnings[0] and np.isfinite(radiograph.pixels).all()


def test_overlay_bits_above_the_stored_ones_are_cleared(make_dicom):
    values = ramp()
    drawn = values.copy()
    drawn[::3] |= 0xF000
    window = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    clean, marked = make_dicom(values, name="a", **window), make_dicom(drawn, name="b", **window)
    np.testing.assert_array_equal(read_radiograph(clean).pixels, read_radiograph(marked).pixels)


@pytest.mark.parametrize(
    "attributes, spacing, source, words",
    [
        ({}, None, None, None),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "PixelSpacing", None),
        ({"ImagerPixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "ImagerPixelSpacing", "magnified"),
        ({"NominalScannedPixelSpacing": [0.17, 0.17]}, (0.17, 0.17), "NominalScannedPixelSpacing", None),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.15, 0.15]}, (0.1, 0.1), "PixelSpacing", None),
        ({"PixelSpacing": [0, 0]}, None, None, "0 x 0"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "ImagerPixelSpacing", "0 x 0"),
        ({"PixelSpacing": [-0.1, 0.1]}, None, None, "no possible spacing"),
        ({"ImagerPixelSpacing": [140, 140]}, None, None, "140 x 140"),
        ({"PixelSpacing": [0.1]}, None, None, "no possible spacing"),
        ({"PixelSpacing": []}, None, None, None),
    ],
)
def test_spacing(make_dicom, attributes, spacing, source, words):
    radiograph = read_radiograph(make_dicom(ramp(), **attributes))
    assert radiograph.spacing_mm == spacing and radiograph.spacing_source == source
    assert any(words in warning for warning in radiograph.warnings) if words else not radiograph.warnings


@pytest.mark.parametrize(
    "attributes, words",
    [
        ({"WindowWidth": 0, "WindowCenter": 100}, "window width 0 is impossible"),
        ({"WindowWidth": 100, "WindowCenter": 30000}, "window shows nothing"),
        ({"WindowWidth": 4000, "WindowCenter": 2000, "VOILUTFunction": "WAVE"}, "VOILUTFunction is unknown"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope 0"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
        ({"Modality": "US"}, "Modality US"),
    ],
)
def test_doubtful_files_are_read_with_a_warning(make_dicom, attributes, words):
    radiograph = read_radiograph(make_dicom(ramp(), **attributes))
    assert any(words in warning for warning in radiograph.warnings)
    assert radiograph.pixels.min() == 0 and radiograph.pixels.max() == 1


@pytest.mark.parametrize(
    "attributes, words",
    [
        ({"PixelData": None}, "truncated"),
        ({"PixelData": None, "Rows": None, "SOPClassUID": BASIC_TEXT_SR}, "SR Storage.* holds no image"),
        ({"NumberOfFrames": 3}, "holds 3 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not grey"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not grey"),
        ({"Modality": "SEG"}, "segmentation"),
        ({"BitsAllocated": 32}, "BitsAllocated 32"),
        ({"BitsStored": 12, "HighBit": 15}, "HighBit 15"),
        ({"Rows": 60_000, "Columns": 60_000}, "decompression bombs"),
        ({"Rows": 0}, "DICOM"),
        ({"Rows": None}, "DICOM"),
        ({"Rows": 49}, "truncated"),
    ],
)
def test_what_cannot_be_read_is_explained(make_dicom, attributes, words):
    path = make_dicom(ramp(), **attributes)
    with pytest.raises(KerasOrthoError, match=words) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(str(path))


def test_float_pixels_are_refused(make_dicom):
    path = make_dicom(ramp(), PixelData=None, FloatPixelData=ramp().astype(np.float32).tobytes())
    with pytest.raises(KerasOrthoError, match="floating-point"):
        read_radiograph(path)


def test_no_identity_in_tags_warnings_and_errors(make_dicom):
    radiograph = read_radiograph(make_dicom(ramp(), PixelSpacing=[0, 0]))
    with pytest.raises(KerasOrthoError) as caught:
        read_radiograph(make_dicom(ramp(), NumberOfFrames=9))
    for text in (repr(radiograph.tags), str(caught.value)):
        assert "SECRET" not in text.upper() and "1950" not in text
    assert radiograph.tags["body_part"] == "HAND" and radiograph.tags["view_position"] == "PA"


def test_without_preamble_and_header(make_dicom):
    for syntax in (IMPLICIT, EXPLICIT):
        dataset = pydicom.dcmread(make_dicom(ramp(), syntax=syntax))
        path = Path(dataset.filename).with_name("bare")
        del dataset.file_meta, dataset.preamble
        dataset.save_as(path, implicit_vr=syntax == IMPLICIT, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
        assert read_radiograph(path).pixels.shape == ramp().shape


def test_deflated_bombs_are_refused(make_dicom):
    path = make_dicom(np.zeros((4000, 3000), np.uint16), syntax=DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(KerasOrthoError, match="inflates beyond"):
        decode_radiograph(path.read_bytes(), max_pixels=10_000)


def test_missing_pydicom_names_the_extra(make_dicom, monkeypatch):
    path = make_dicom(ramp())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(KerasOrthoError, match=r"pip install 'kerasortho\[dicom\]'"):
        read_radiograph(path)


def test_pydicoms_warnings_which_quote_values_are_kept_quiet():
    path = next(path for path in PACKAGED if path.name == "SC_rgb_jpeg.dcm")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pydicom.dcmread(path)
        assert caught
        caught.clear()
        with pytest.raises(KerasOrthoError):
            read_radiograph(path)
    assert not caught


SOURCES: list[bytes] = [
    path.read_bytes()
    for path in PACKAGED
    if path.name in ("MR_small.dcm", "MR_small_RLE.dcm", "JPEGLSNearLossless_16.dcm", "examples_overlay.dcm")
]


@given(st.sampled_from(SOURCES), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_never_end_in_a_traceback(source, data):
    broken = bytearray(source[: data.draw(st.one_of(st.just(len(source)), st.integers(0, len(source))))])
    for place in data.draw(st.lists(st.integers(0, max(len(broken) - 1, 0)), max_size=8)):
        if broken:
            broken[place] = data.draw(st.integers(0, 255))
    try:
        pixels = decode_radiograph(bytes(broken), max_pixels=1 << 22).pixels
    except KerasOrthoError:
        return
    assert pixels.ndim == 2 and pixels.min() >= 0 and pixels.max() <= 1
