"""DICOM segmentations as masks: files genuinely written by highdicom, pydicom's real one, damaged ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom")

import highdicom as hd
import pydicom
from pydicom.data import get_testdata_file
from pydicom.pixels import pack_bits
from pydicom.sr.codedict import codes
from pydicom.uid import DeflatedExplicitVRLittleEndian, DigitalXRayImageStorageForProcessing, RLELossless, generate_uid

from kerasortho.data.importing.dicom_seg import MaskJob, read_segmentation, write_mask
from kerasortho.data.importing.dicom_seg_import import import_seg
from kerasortho.data.manifest import read_manifest
from kerasortho.data.phantom import PhantomSettings, generate_phantoms
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_mask, read_radiograph

Writer = Callable[..., Any]
SHAPE = (30, 20)


def blob(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.3


def make_seg(
    sources: Sequence[Any], pixels: np.ndarray, labels: Sequence[str] = ("Bone",), kind: str = "BINARY", **options: Any
) -> Any:
    """Return a segmentation of ``sources``; ``pixels`` are (frames, H, W) or (frames, H, W, segments)."""
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Bone,
            algorithm_type="MANUAL",
        )
        for number, label in enumerate(labels, 1)
    ]
    return hd.seg.Segmentation(
        list(sources), pixels, kind, described, hd.UID(), 1, hd.UID(), 1, "maker", "model", "1", "1", **options
    )


def write_series(write_dx: Writer, folder: Path, values: Sequence[np.ndarray]) -> list[Any]:
    """Write images 1.dcm, 2.dcm ... of one series and return them.

    highdicom writes several frames only where the images have a frame of reference, which few radiographs have.
    """
    common = {keyword: generate_uid() for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    return [
        write_dx(
            folder / f"{number}.dcm",
            pixels,
            **common,
            InstanceNumber=number,
            ImagePositionPatient=[0, 0, number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.1, 0.1],
            SliceThickness=1,
        )
        for number, pixels in enumerate(values, 1)
    ]


def save(dataset: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def masks_of(manifest: Path) -> dict[str, np.ndarray]:
    rows = read_manifest(manifest).rows
    return {row["image"]: read_mask(manifest.parent / row["mask"]) for row in rows if row["mask"]}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("phantoms") / "ph"
    return generate_phantoms(folder, PhantomSettings(patients=2, views=1, size=75, format="dicom", seed=5))


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_phantoms_round_trip(tmp_path: Path, phantoms: Any, kind: str) -> None:
    """The masks of the phantom generator, through highdicom's SEG files, come back to the pixel."""
    folder = phantoms.path.parent
    truth = {}
    for row in phantoms.rows:
        image, mask = folder / row["image"], read_mask(folder / row["mask"])
        truth[image.name] = mask
        pixels = mask[np.newaxis].astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
        save(make_seg([pydicom.dcmread(image)], pixels, kind=kind), tmp_path / "seg" / f"{image.stem}.dcm")
    imported = import_seg(folder, tmp_path / "seg", tmp_path / "m.csv")
    found = {Path(image).name: mask for image, mask in masks_of(tmp_path / "m.csv").items()}
    assert set(found) == set(truth)
    for image, mask in truth.items():
        assert mask.any() and np.array_equal(found[image], mask)
    assert len({row["group"] for row in imported.manifest.rows}) == 2
    assert all(row["mask"].startswith("m-masks/g-") for row in imported.manifest.rows)


def test_several_segments_and_images(tmp_path: Path, write_dx: Writer) -> None:
    """One SEG file for two images of a study, three segments; frames without marks are not stored by highdicom."""
    sources = write_series(write_dx, tmp_path / "in", [np.zeros(SHAPE, np.uint16)] * 2)
    pixels = np.zeros((2, *SHAPE, 3), np.uint8)
    pixels[0, ..., 0], pixels[1, ..., 0], pixels[0, ..., 1], pixels[1, ..., 2] = blob(1), blob(2), blob(3), blob(4)
    seg = make_seg(sources, pixels, ("Tibia", "Fibula", "Implant"))
    save(seg, tmp_path / "in" / "seg")
    with pytest.raises(KerasOrthoError, match="--segment") as refused:
        import_seg(tmp_path / "in", tmp_path / "in", tmp_path / "m.csv")
    assert all(f'"{label}" in 1 file' in str(refused.value) for label in ("Tibia", "Fibula", "Implant"))
    with pytest.raises(KerasOrthoError, match='Did you mean "Fibula"'):
        import_seg(tmp_path / "in", tmp_path / "in", tmp_path / "m.csv", segment=["Fibla"])
    assert not (tmp_path / "m.csv").exists() and not (tmp_path / "m-masks").exists()

    def masks(*segment: str) -> list[np.ndarray]:
        nonlocal notes
        notes = import_seg(tmp_path / "in", tmp_path / "in", tmp_path / "m.csv", segment=segment, overwrite=True).notes
        found = masks_of(tmp_path / "m.csv")
        return [found["in/1.dcm"], found["in/2.dcm"]]

    notes: tuple[str, ...] = ()
    for names, planes in ((("tibia", "FIBULA"), (0, 1)), (("2",), (1,)), (("3", "Tibia"), (0, 2))):
        expected = pixels[..., list(planes)].any(axis=-1)
        assert all(np.array_equal(mask, truth) for mask, truth in zip(masks(*names), expected, strict=True)), names
    by_highdicom = hd.seg.segread(tmp_path / "in" / "seg").get_pixels_by_source_instance(
        [source.SOPInstanceUID for source in sources],
        segment_numbers=[1, 2, 3],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(np.stack(masks("1", "2", "3")), by_highdicom.any(axis=-1))
    masks("Fibula")
    assert "1 mask is empty: nothing is marked on 2.dcm." in notes


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_several_segments_without_frame_of_reference(tmp_path: Path, write_dx: Writer, kind: str) -> None:
    source = write_dx(tmp_path / "in" / "a.dcm")
    labels = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    save(make_seg([source], labels[np.newaxis], ("Tibia", "Fibula", "Implant"), kind), tmp_path / "seg.dcm")
    import_seg(tmp_path / "in", tmp_path, tmp_path / "m.csv", segment=["tibia", "3"])
    assert np.array_equal(masks_of(tmp_path / "m.csv")["in/a.dcm"], np.isin(labels, [1, 3]))
    with pytest.raises(KerasOrthoError, match='"Fibula" in 1 file'):
        import_seg(tmp_path / "in", tmp_path, tmp_path / "n.csv", segment=["0"])  # a label map's background


def test_fractional(tmp_path: Path, write_dx: Writer) -> None:
    values = np.linspace(0, 1, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    cases = [(255, None), (200, DeflatedExplicitVRLittleEndian), (255, RLELossless)]
    for number, (maximum, syntax) in enumerate(cases):
        source = write_dx(tmp_path / "in" / f"{number}.dcm")
        seg = make_seg([source], values[np.newaxis], kind="FRACTIONAL", max_fractional_value=maximum)
        path = save(seg, tmp_path / "seg" / f"{number}.dcm")
        stored = seg.pixel_array
        if syntax is not None:
            again = pydicom.dcmread(path)
            if syntax == RLELossless:
                again.compress(syntax)
            again.file_meta.TransferSyntaxUID = syntax
            save(again, path)
        notes = import_seg(tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv", overwrite=True).notes
        assert np.array_equal(masks_of(tmp_path / "m.csv")[f"in/{number}.dcm"], stored >= maximum / 2)
        assert any("fractional" in note for note in notes)


def test_frames_that_end_within_a_byte(tmp_path: Path, write_dx: Writer) -> None:
    """35 bits a frame: the second frame begins in the fifth byte."""
    sources = write_series(write_dx, tmp_path / "in", [np.zeros((7, 5), np.uint16)] * 3)
    pixels = np.stack([blob(seed, (7, 5)) for seed in range(3)]).astype(np.uint8)
    save(make_seg(sources, pixels), tmp_path / "seg.dcm")
    import_seg(tmp_path / "in", tmp_path, tmp_path / "m.csv")
    found = masks_of(tmp_path / "m.csv")
    assert all(np.array_equal(found[f"in/{n + 1}.dcm"], pixels[n]) for n in range(3))


def test_unmatched(tmp_path: Path, write_dx: Writer) -> None:
    sources = [write_dx(tmp_path / "in" / f"{n}.dcm") for n in range(3)]
    absent = write_dx(tmp_path / "elsewhere.dcm")
    save(make_seg([sources[0]], blob(0)[np.newaxis].astype(np.uint8)), tmp_path / "seg" / "right.dcm")
    save(make_seg([absent], blob(0)[np.newaxis].astype(np.uint8)), tmp_path / "seg" / "orphan.dcm")
    small = make_seg([sources[1]], blob(0)[np.newaxis].astype(np.uint8))
    small.Rows, small.PixelData = SHAPE[0] - 2, pack_bits(blob(0)[:-2].astype(np.uint8).ravel())
    save(small, tmp_path / "seg" / "small.dcm")
    with pytest.raises(KerasOrthoError, match="--skip-unmatched") as refused:
        import_seg(tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv")
    message = str(refused.value)
    assert "2 of 3 images have no mask: 1.dcm, 2.dcm." in message
    assert "for the image it refers to is not there: orphan.dcm" in message
    assert "it has 28 x 20 pixels and its image 30 x 20: small.dcm" in message
    assert not (tmp_path / "m.csv").exists() and not (tmp_path / "m-masks").exists()
    imported = import_seg(tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv", skip_unmatched=True)
    assert [row["image"] for row in imported.manifest.rows] == ["in/0.dcm"]
    assert np.array_equal(masks_of(tmp_path / "m.csv")["in/0.dcm"], blob(0))
    assert any("They are left out" in note for note in imported.notes)


def test_damaged(tmp_path: Path, write_dx: Writer) -> None:
    """Nothing is guessed where a file does not say what it marks, and where; and half a file is no file."""
    source = write_dx(tmp_path / "in" / "a.dcm")
    other = write_dx(tmp_path / "in" / "b.dcm")
    mask = blob(0)[np.newaxis].astype(np.uint8)

    def refusal(change: Callable[[Any], None], cut: int = 0) -> str:
        seg = make_seg([source], mask)
        change(seg)
        path = save(seg, tmp_path / "seg" / "x.dcm")
        path.write_bytes(path.read_bytes()[: -cut or None])
        with pytest.raises(KerasOrthoError) as refused:
            import_seg(tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv", skip_unmatched=True)
        assert not (tmp_path / "m.csv").exists()
        return str(refused.value)

    def forget_segment(seg: Any) -> None:
        for groups in (seg.SharedFunctionalGroupsSequence[0], frame(seg)):
            groups.pop("SegmentIdentificationSequence", None)

    def frame(seg: Any) -> Any:
        return seg.PerFrameFunctionalGroupsSequence[0]

    def refer_to_both(seg: Any) -> None:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = other.SOPClassUID, other.SOPInstanceUID
        frame(seg).DerivationImageSequence[0].SourceImageSequence.append(item)

    def refer_to_nothing(seg: Any) -> None:
        del frame(seg).DerivationImageSequence
        del seg.ReferencedSeriesSequence

    assert "describes 1 frames and holds 2" in refusal(lambda seg: setattr(seg, "NumberOfFrames", 2))
    assert "does not say which segment" in refusal(forget_segment)
    assert "refers to several images" in refusal(refer_to_both)
    assert "does not say on which image" in refusal(refer_to_nothing)
    assert "SegmentationType is missing" in refusal(lambda seg: delattr(seg, "SegmentationType"))
    assert "cannot be decoded" in refusal(lambda seg: None, cut=40)


def test_single_reference_is_enough(tmp_path: Path, write_dx: Writer) -> None:
    source = write_dx(tmp_path / "in" / "a.dcm")
    seg = make_seg([source], blob(3)[np.newaxis].astype(np.uint8))
    del seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    save(seg, tmp_path / "seg.dcm")
    import_seg(tmp_path / "in", tmp_path, tmp_path / "m.csv")
    assert np.array_equal(masks_of(tmp_path / "m.csv")["in/a.dcm"], blob(3))


def test_two_readers(tmp_path: Path, write_dx: Writer) -> None:
    source = write_dx(tmp_path / "in" / "a.dcm")
    for number, label in enumerate(("Bone", "bone", "Implant")):
        seg = make_seg([source], blob(number)[np.newaxis].astype(np.uint8), [label])
        seg.ContentDate, seg.ContentTime = "20240101", f"1{2 - number}0000"
        save(seg, tmp_path / "seg" / f"{number}.dcm")
    shutil.copy(tmp_path / "seg" / "0.dcm", tmp_path / "seg" / "copy.dcm")

    def mask(several: str, *segment: str) -> np.ndarray:
        import_seg(
            tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv", segment=segment, several=several, overwrite=True
        )
        return masks_of(tmp_path / "m.csv")["in/a.dcm"]

    with pytest.raises(KerasOrthoError, match=r"same segment in several SEG files: a\.dcm\."):
        mask("refuse", "Bone")
    assert np.array_equal(mask("union", "Bone"), blob(0) | blob(1))
    assert np.array_equal(mask("newest", "Bone"), blob(0))
    assert np.array_equal(mask("newest", "Bone", "Implant"), blob(0) | blob(2))
    assert np.array_equal(mask("refuse", "Implant"), blob(2))


def test_mask_on_the_raw_image(tmp_path: Path, write_dx: Writer) -> None:
    """A FOR PROCESSING image that was annotated is kept, though its presentation is there."""
    shot = {"StudyInstanceUID": generate_uid(), "AcquisitionDateTime": "20240305101530"}
    raw = write_dx(
        tmp_path / "in" / "raw.dcm",
        SOPClassUID=DigitalXRayImageStorageForProcessing,
        PresentationIntentType="FOR PROCESSING",
        **shot,
    )
    write_dx(tmp_path / "in" / "shown.dcm", PresentationIntentType="FOR PRESENTATION", **shot)
    save(make_seg([raw], blob(0)[np.newaxis].astype(np.uint8)), tmp_path / "seg" / "s.dcm")
    imported = import_seg(tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv", skip_unmatched=True)
    assert [(row["image"], row["exclude"]) for row in imported.manifest.rows] == [("in/raw.dcm", "")]


def test_no_identity(tmp_path: Path, write_dx: Writer) -> None:
    source = write_dx(tmp_path / "in" / "Mustermann.dcm")
    lacking = write_dx(tmp_path / "in" / "PAT-4711.dcm")
    save(make_seg([source], blob(0)[np.newaxis].astype(np.uint8)), tmp_path / "seg" / "Mustermann-seg.dcm")
    absent = make_seg([write_dx(tmp_path / "x.dcm")], blob(0)[np.newaxis].astype(np.uint8))
    save(absent, tmp_path / "seg" / "Erika-seg.dcm")
    arguments = (tmp_path / "in", tmp_path / "seg", tmp_path / "m.csv")
    with pytest.raises(KerasOrthoError) as refused:
        import_seg(*arguments)
    imported = import_seg(*arguments, skip_unmatched=True, copy_to=tmp_path / "png")
    masks = "".join(file.name for file in (tmp_path / "m-masks").iterdir())
    text = (str(refused.value) + (tmp_path / "m.csv").read_text() + "".join(imported.notes) + masks).lower()
    for identity in ("mustermann", "erika", "pat-4711", "19500401", "998877", str(source.SOPInstanceUID)):
        assert identity not in text, identity
    assert lacking.PatientID == "PAT-4711"
    (row,) = imported.manifest.rows
    copy, original = read_radiograph(tmp_path / row["image"]), read_radiograph(tmp_path / "in" / "Mustermann.dcm")
    assert np.abs(copy.pixels - original.pixels).max() <= 0.5 / 65535 + 1e-7
    assert np.array_equal(read_mask(tmp_path / row["mask"]), blob(0))


def test_real_segmentation(tmp_path: Path) -> None:
    """A liver on three real CT slices, which pydicom keeps outside its package."""
    file = get_testdata_file("liver.dcm", download=False)
    if file is None:
        pytest.skip("liver.dcm is not there: pip install pydicom-data")
    seg, truth = read_segmentation(Path(str(file))), pydicom.dcmread(str(file)).pixel_array
    assert (seg.problem, seg.kind, dict(seg.segments)) == ("", "BINARY", {1: "Liver"})
    assert len(seg.frames) == 3 and len(seg.images) >= 3
    for index, frame in enumerate(seg.frames):
        target = tmp_path / f"{index}.png"
        assert write_mask(MaskJob((seg.part(1, frame.sources[0]),), seg.shape, target)) == (truth[index].sum(), "")
        assert np.array_equal(read_mask(target), truth[index])


def test_real_segmentation_cut_down() -> None:
    """The same with one frame, and still the description of three: which of them it is, is anybody's guess."""
    seg = read_segmentation(Path(str(get_testdata_file("liver_1frame.dcm"))))
    assert (seg.problem, seg.shape, seg.kind) == ("it describes 3 frames and holds 1", (512, 512), "BINARY")


def test_nothing_there(tmp_path: Path, write_dx: Writer) -> None:
    write_dx(tmp_path / "in" / "a.dcm")
    with pytest.raises(KerasOrthoError, match="holds no DICOM segmentation: none of 1 image file"):
        import_seg(tmp_path / "in", tmp_path / "in", tmp_path / "m.csv")
    with pytest.raises(KerasOrthoError, match="no folder"):
        import_seg(tmp_path / "in", tmp_path / "none", tmp_path / "m.csv")
    with pytest.raises(KerasOrthoError, match='Did you mean "newest"'):
        import_seg(tmp_path / "in", tmp_path / "in", tmp_path / "m.csv", several="latest newest")
