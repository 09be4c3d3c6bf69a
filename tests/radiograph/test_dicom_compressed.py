"""Compressed transfer syntaxes: the same pixels as uncompressed, and damage is found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_radiograph
from kerasortho.radiograph.raster import TruncatedImageError
from kerasortho.radiograph.reading import decode_radiograph

pydicom = pytest.importorskip("pydicom")
from pydicom.encaps import encapsulate  # noqa: E402

SCENE = cv2.GaussianBlur(np.random.default_rng(0).random((90, 70)).astype(np.float32), (0, 0), 4)
SCENE = (SCENE - SCENE.min()) / np.ptp(SCENE)


@pytest.mark.parametrize("values", [SCENE * 255, SCENE * 4095, SCENE * 3000 - 1000], ids=["uint8", "uint12", "int16"])
@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLSLossless"])
def test_lossless_by_pydicom(make_dicom, values, syntax):
    dtype = np.uint8 if values.max() < 256 else np.int16 if values.min() < 0 else np.uint16
    path = make_dicom(values.round().astype(dtype), WindowCenter=100, WindowWidth=1000)
    expected = read_radiograph(path).pixels
    dataset = pydicom.dcmread(path)
    dataset.compress(getattr(pydicom.uid, syntax))
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, expected)
    assert radiograph.tags["transfer_syntax"] == getattr(pydicom.uid, syntax).name


def transcoded(path: Path, syntax: str) -> Path:
    """Write the file again in another transfer syntax, by GDCM."""
    gdcm = pytest.importorskip("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    result = path.with_name(f"{syntax}.dcm")
    writer.SetFileName(str(result))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return result


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"])
@pytest.mark.parametrize("values", [SCENE * 255, SCENE * 4095, SCENE * 65535], ids=["8", "12", "16"])
def test_lossless_by_gdcm(make_dicom, values, syntax):
    stored = values.round().astype(np.uint8 if values.max() < 256 else np.uint16)
    path = make_dicom(stored, PhotometricInterpretation="MONOCHROME1", WindowCenter=100, WindowWidth=200)
    np.testing.assert_array_equal(read_radiograph(transcoded(path, syntax)).pixels, read_radiograph(path).pixels)


@pytest.mark.parametrize("syntax, tolerance", [("JPEGBaselineProcess1", 0.03), ("JPEG2000", 0.03)])
def test_lossy_by_gdcm(make_dicom, syntax, tolerance):
    path = make_dicom((SCENE * 255).astype(np.uint8), WindowCenter=128, WindowWidth=256)
    read = read_radiograph(transcoded(path, syntax)).pixels
    np.testing.assert_allclose(read, read_radiograph(path).pixels, atol=tolerance)


def baseline_jpeg(make_dicom, **more) -> Path:
    jpeg = cv2.imencode(".jpg", (SCENE * 255).astype(np.uint8))[1].tobytes()
    path = make_dicom((SCENE * 255).astype(np.uint8), **more)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate([jpeg])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def test_truncated_compressed_image(make_dicom):
    path = baseline_jpeg(make_dicom)
    read_radiograph(path)
    data = path.read_bytes()
    for cut in (100, 20):
        with pytest.raises(TruncatedImageError):
            decode_radiograph(data[:-cut])
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([cv2.imencode(".jpg", (SCENE * 255).astype(np.uint8))[1].tobytes()[:-200]])
    dataset.save_as(path)
    with pytest.raises(TruncatedImageError, match="no end marker"):
        read_radiograph(path)


def test_compressed_image_of_another_size_is_refused_before_decoding(make_dicom):
    path = baseline_jpeg(make_dicom, Rows=10, Columns=10)
    with pytest.raises(KerasOrthoError, match=r"say \(10, 10\), the compressed image \(90, 70\)"):
        read_radiograph(path)


def test_missing_decoder_and_unknown_syntax_say_what_to_do(make_dicom, monkeypatch):
    path = baseline_jpeg(make_dicom)
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGBaseline8Bit)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(KerasOrthoError, match=r"JPEG Baseline.*kerasortho\[dicom\]"):
        read_radiograph(path)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.save_as(path)
    with pytest.raises(KerasOrthoError, match=r"MPEG2.*uncompressed"):
        read_radiograph(path)
