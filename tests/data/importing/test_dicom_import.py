"""DICOM folders as they come from an archive: patients, copies, raw images, other objects, and no identity kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom")

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import DigitalXRayImageStorageForProcessing, generate_uid

from kerasortho.data.importing.dicom_headers import carries_identity, read_header
from kerasortho.data.importing.dicom_import import import_dicom
from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.data.manifest import read_manifest
from kerasortho.data.phantom import PhantomSettings, generate_phantoms
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_radiograph

Writer = Callable[..., Any]
IDENTITIES = ("pat-4711", "mustermann", "erika", "19500401", "998877", "quincy")


def assert_no_identity(text: str) -> None:
    found = [identity for identity in IDENTITIES if identity in text.lower()]
    assert not found, f"{found} in {text}"


def test_patients_become_groups(tmp_path: Path, write_dx: Writer) -> None:
    folder, study = tmp_path / "in", generate_uid()
    write_dx(folder / "deep" / "er" / "a", StudyInstanceUID=study, ImagerPixelSpacing=[0.143, 0.143])
    write_dx(folder / "1.2.840.99", StudyInstanceUID=study, ViewPosition="LL", PixelSpacing=[0.1, 0.2])
    write_dx(folder / "b.dcm", PatientID=" PAT-4711 ", BurnedInAnnotation="YES")
    write_dx(folder / "c.dcm", PatientID="PAT-4712")
    (folder / "notes.txt").write_text("nothing")
    imported = import_dicom(folder, tmp_path / "m.csv")
    rows = {row["image"]: row for row in read_manifest(tmp_path / "m.csv").rows}
    assert set(rows) == {"in/1.2.840.99", "in/b.dcm", "in/c.dcm", "in/deep/er/a"}
    one, other = rows["in/deep/er/a"], rows["in/1.2.840.99"]
    assert one["group"] == other["group"] == rows["in/b.dcm"]["group"] != rows["in/c.dcm"]["group"]
    assert one["study"] == other["study"] != rows["in/b.dcm"]["study"] and one["study"].startswith("s-")
    assert (one["row_spacing_mm"], one["spacing_source"]) == ("0.143", "ImagerPixelSpacing")
    assert (other["row_spacing_mm"], other["column_spacing_mm"]) == ("0.1", "0.2")
    assert {**rows["in/b.dcm"], "group": "", "study": ""} == {
        "image": "in/b.dcm",
        "group": "",
        "exclude": "",
        "study": "",
        "modality": "DX",
        "body_part": "HAND",
        "view": "PA",
        "laterality": "L",
        "intent": "FOR PRESENTATION",
        "photometric": "MONOCHROME2",
        "rows": "30",
        "columns": "20",
        "row_spacing_mm": "",
        "column_spacing_mm": "",
        "spacing_source": "",
        "burned_in": "YES",
    }
    assert "1 image has text burned in (BurnedInAnnotation YES)." in imported.notes
    assert "Files skipped, being no images: 1 (1 .txt)." in imported.notes


def test_salts(tmp_path: Path, write_dx: Writer) -> None:
    write_dx(tmp_path / "in" / "a.dcm")
    fixed = [
        import_dicom(tmp_path / "in", tmp_path / f"{name}.csv", pseudonyms=Pseudonyms(b"the same old salt"))
        for name in "ab"
    ]
    drawn = [import_dicom(tmp_path / "in", tmp_path / f"{name}.csv") for name in "cd"]
    groups = [imported.manifest.rows[0]["group"] for imported in (*fixed, *drawn)]
    assert groups[0] == groups[1] and len(set(groups)) == 3


def test_no_identity_anywhere(tmp_path: Path, write_dx: Writer, capfd: pytest.CaptureFixture[str]) -> None:
    """Telling values in every attribute, in damaged ones too; file names with the patient's own come with a warning."""
    folder = tmp_path / "in"
    same = generate_uid()
    write_dx(folder / "ok.dcm", SOPInstanceUID=same)
    write_dx(folder / "again.dcm", SOPInstanceUID=same, OtherPatientIDs=["PAT-4711-B"], ContentDate="19500401")
    write_dx(folder / "lacking.dcm", PatientID=None)
    write_dx(folder / "Mustermann" / "hidden.dcm", PatientID="")
    write_dx(folder / "erika.dcm", PatientID="")
    cut = (folder / "ok.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(cut[: cut.index(b"PAT-4711") + 4])
    swallowing = cut.replace(b"CS\x04\x00HAND", b"CS\xff\x7fHAND").replace(b"SH\x0a\x00ACC", b"SH\xff\x7fACC")
    assert len(swallowing) == len(cut) and swallowing != cut
    (folder / "swallowing.dcm").write_bytes(swallowing)
    (folder / "broken.dcm").write_bytes(cut.replace(b"PN\x10\x00Muster", b"PN\xff\xffMuster"))
    with pytest.raises(KerasOrthoError, match="--without-id") as refused:
        import_dicom(folder, tmp_path / "m.csv", processes=1, what="reading")
    assert "hidden.dcm, lacking.dcm" in str(refused.value).replace("lacking.dcm, hidden.dcm", "hidden.dcm, lacking.dcm")
    assert "1 whose name is a patient's" in str(refused.value)
    told = capfd.readouterr()
    assert_no_identity(str(refused.value) + told.out + told.err)
    assert not (tmp_path / "m.csv").exists()

    imported = import_dicom(folder, tmp_path / "m.csv", without_id="study", what="reading")
    assert any("2 paths carry a patient's name" in note and "--copy-to" in note for note in imported.notes)
    text = (tmp_path / "m.csv").read_text()
    assert text.count("Mustermann/hidden.dcm") == text.count("erika.dcm") == 1  # the paths, and the warning says so
    assert_no_identity(text.replace("Mustermann/hidden.dcm", "").replace("erika.dcm", "") + "".join(imported.notes))

    copied = import_dicom(folder, tmp_path / "c.csv", without_id="study", copy_to=tmp_path / "out", what="reading")
    told = capfd.readouterr()
    files = "".join(map(str, (tmp_path / "out").iterdir()))
    data = b"".join(file.read_bytes() for file in (tmp_path / "out").iterdir()).decode("latin-1")
    assert_no_identity((tmp_path / "c.csv").read_text() + "".join(copied.notes) + files + data + told.out + told.err)


def test_identity_in_paths() -> None:
    for cell in (
        "x/pat-4711/1.dcm",
        "x/PAT4711_1.dcm",
        "MustermannErika/1",
        "a/Erika.dcm",
        "a/19500401/7.dcm",
        "7/a.dcm",
    ):
        assert carries_identity(cell, ["PAT-4711", "Mustermann", "Erika", "19500401", "7"]), cell
    for cell in ("x/pat/47/11.dcm", "17/a.dcm", "hand/1.dcm"):
        assert not carries_identity(cell, ["PAT-47112", "Li", "7"]), cell
    assert carries_identity("Mu\u0308LLER/1.dcm", ["M\u00fcller"])
    assert carries_identity("in/山田/1.dcm", ["山田"])


def test_without_id(tmp_path: Path, write_dx: Writer) -> None:
    folder, study = tmp_path / "in", generate_uid()
    write_dx(folder / "1.dcm", PatientID=None, StudyInstanceUID=study)
    write_dx(folder / "2.dcm", PatientID=None, StudyInstanceUID=study)
    write_dx(folder / "3.dcm")
    by_study = import_dicom(folder, tmp_path / "m.csv", without_id="study").manifest.rows
    assert by_study[0]["group"] == by_study[1]["group"] != by_study[2]["group"]
    assert [row["grouped_by"] for row in by_study] == ["study", "study", ""]
    by_image = import_dicom(folder, tmp_path / "i.csv", without_id="image").manifest.rows
    assert len({row["group"] for row in by_image}) == 3
    skipped = import_dicom(folder, tmp_path / "s.csv", without_id="skip")
    assert [row["image"] for row in skipped.manifest.rows] == ["in/3.dcm"]
    assert any(note == "2 of 3 radiographs have no PatientID. They are left out." for note in skipped.notes)
    with pytest.raises(KerasOrthoError, match='Did you mean "study"'):
        import_dicom(folder, tmp_path / "x.csv", without_id="studies")
    write_dx(folder / "4.dcm", PatientID=None, StudyInstanceUID=None)
    with pytest.raises(KerasOrthoError, match=r"neither PatientID nor StudyInstanceUID \(4.dcm\)"):
        import_dicom(folder, tmp_path / "x.csv", without_id="study")


def test_study_of_two_ids_stays_together(tmp_path: Path, write_dx: Writer) -> None:
    folder, study = tmp_path / "in", generate_uid()
    write_dx(folder / "1.dcm", StudyInstanceUID=study)
    write_dx(folder / "2.dcm", StudyInstanceUID=study, PatientID="corrected")
    write_dx(folder / "3.dcm", PatientID="corrected")
    write_dx(folder / "4.dcm", PatientID="other")
    imported = import_dicom(folder, tmp_path / "m.csv")
    groups = [row["group"] for row in imported.manifest.rows]
    assert len(set(groups[:3])) == 1 and groups[3] != groups[0]
    assert any("1 study has images of several PatientIDs" in note for note in imported.notes)


def test_copies_and_raw_images(tmp_path: Path, write_dx: Writer) -> None:
    folder, study, same = tmp_path / "in", generate_uid(), generate_uid()
    shot = {"StudyInstanceUID": study, "AcquisitionDate": "20240305"}
    raw = {"SOPClassUID": DigitalXRayImageStorageForProcessing, "PresentationIntentType": "FOR PROCESSING"}
    shown = {"PresentationIntentType": "FOR PRESENTATION"}
    source = write_dx(folder / "0-raw-source.dcm", StudyInstanceUID=study, **raw)
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    write_dx(folder / "1-derived.dcm", StudyInstanceUID=study, SourceImageSequence=[reference], **shown)
    write_dx(folder / "2-raw.dcm", AcquisitionTime="101530.250", **shot, **raw)
    write_dx(folder / "3-shown.dcm", AcquisitionTime="101530.25", SOPInstanceUID=same, **shot, **shown)
    write_dx(folder / "4-again.dcm", AcquisitionTime="101530.25", SOPInstanceUID=same, **shot, **shown)
    write_dx(folder / "5-raw-other-view.dcm", AcquisitionTime="101530.25", ViewPosition="LL", **shot, **raw)
    write_dx(folder / "6-raw-no-time.dcm", StudyInstanceUID=study, SOPClassUID=DigitalXRayImageStorageForProcessing)
    write_dx(folder / "7-raw-other-study.dcm", AcquisitionDateTime="20240305101530.25", **raw)
    imported = import_dicom(folder, tmp_path / "m.csv")
    excluded = {row["image"][3]: row["exclude"] for row in imported.manifest.rows}
    raw_reason = "raw: there is a FOR PRESENTATION image of this exposure"
    assert excluded == {
        "0": raw_reason,
        "1": "",
        "2": raw_reason,
        "3": "",
        "4": "copy: same SOPInstanceUID as an earlier file",
        "5": "",
        "6": "",
        "7": "",
    }
    assert any("3 images are FOR PROCESSING without a FOR PRESENTATION partner" in note for note in imported.notes)
    assert imported.manifest.rows[6]["intent"] == "FOR PROCESSING"  # by its SOP class


def test_labels(tmp_path: Path, write_dx: Writer) -> None:
    folder = tmp_path / "in"
    for number, part in enumerate(["HAND", "Foot", "PELVIS", "", "PELVIS"]):
        write_dx(folder / f"{number}.dcm", BodyPartExamined=part or None, ImageLaterality="R" if part else None)
    foot = pydicom.Dataset()
    foot.CodeValue, foot.CodingSchemeDesignator, foot.CodeMeaning = "56459004", "SCT", "Foot"
    write_dx(folder / "5.dcm", BodyPartExamined="HAND", AnatomicRegionSequence=[foot])

    def labels(**options: Any) -> list[str]:
        imported = import_dicom(folder, tmp_path / "m.csv", overwrite=True, **options)
        nonlocal notes
        notes = " ".join(imported.notes)
        return [row["label"] for row in imported.manifest.rows]

    notes = ""
    assert labels(label="limb") == ["upper", "lower", "", "", "", ""]
    assert "4 images have no label, for want of a known value: PELVIS 2, (empty) 1, HAND 1." in notes
    assert "1 image names an upper limb in one attribute and a lower one in the other" in notes
    assert labels(label="body-part") == ["HAND", "FOOT", "PELVIS", "", "PELVIS", ""]
    assert labels(label="laterality") == ["R", "R", "R", "", "R", "L"]
    assert labels(label="view") == ["PA"] * 6
    (tmp_path / "map.csv").write_text("value,label\nhand,upper\npelvis,lower\nKNEE,lower\n")
    assert labels(label="body-part", label_map=tmp_path / "map.csv") == ["upper", "", "lower", "", "lower", ""]
    assert "FOOT 1" in notes and "that no image has: KNEE." in notes
    with pytest.raises(KerasOrthoError, match="does not go with --label limb"):
        labels(label="limb", label_map=tmp_path / "map.csv")
    with pytest.raises(KerasOrthoError, match='Did you mean "body-part"'):
        labels(label="bodypart")
    (tmp_path / "map.csv").write_text("value,label\nhand,upper\nHAND,lower\n")
    with pytest.raises(KerasOrthoError, match="two labels"):
        labels(label="body-part", label_map=tmp_path / "map.csv")


def test_other_objects_are_counted(tmp_path: Path, write_dx: Writer) -> None:
    """pydicom's own files of all kinds, real and synthetic."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = ("liver_1frame.dcm", "test-SR.dcm", "examples_rgb_color.dcm", "rtdose.dcm", "CT_small.dcm", "rtplan.dcm")
    for name in names:
        shutil.copy(str(get_testdata_file(name)), folder)
    shutil.copy(str(get_testdata_file("DICOMDIR")), folder)
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (folder / "empty").touch()
    (folder / "zeros.dcm").write_bytes(bytes(600))
    with pytest.raises(KerasOrthoError, match=r"holds no radiograph as a DICOM file\. 1 DICOMDIR is ignored"):
        import_dicom(folder, tmp_path / "m.csv")
    write_dx(folder / "x.dcm")
    imported = import_dicom(folder, tmp_path / "m.csv")
    assert [row["image"] for row in imported.manifest.rows] == ["in/x.dcm"]
    skipped = next(note for note in imported.notes if note.startswith("Skipped"))
    assert "no single grey radiographs: 6" in skipped
    assert "1 CT Image Storage (no projection radiograph)" in skipped and "1 Comprehensive SR" in skipped
    assert any(note.startswith("Files skipped, being no images: 3") for note in imported.notes)


def test_skipping_agrees_with_reading() -> None:
    """What the header says is no single grey frame is refused when read, and nothing else is, but for missing data."""
    files = sorted(Path(str(get_testdata_file("CT_small.dcm"))).parent.glob("*.dcm"))
    assert len(files) > 50
    for file in files:
        header = read_header(file, Pseudonyms(), file.parent)
        try:
            read_radiograph(file)
            refused = ""
        except KerasOrthoError as error:
            refused = str(error)
        if header.skipped == "no projection radiograph" or header.problem:
            continue
        assert bool(header.skipped) == any(
            word in refused
            for word in (
                "holds no image",
                "is not grey",
                "frames",
                "segmentation",
                "cannot be used",
                "floating",
                "like a DICOM file",
                "image data is missing",
            )
        ), f"{file.name}: {header.skipped!r} {refused}"


def test_copies_are_the_images(tmp_path: Path, write_dx: Writer) -> None:
    folder, out = tmp_path / "PAT-4711", tmp_path / "out"
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_dx(folder / f"{name}.dcm", rng.integers(0, 4096, (40, 30)), PhotometricInterpretation="MONOCHROME1")
    broken = write_dx(folder / "c.dcm", PatientID="other").SOPInstanceUID
    (folder / "c.dcm").write_bytes((folder / "c.dcm").read_bytes()[:-100])
    write_dx(folder / "d.dcm", SOPInstanceUID=broken)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    imported = import_dicom(folder, tmp_path / "m.csv", copy_to=out, label="limb")
    rows = read_manifest(tmp_path / "m.csv").rows
    assert [row["image"] for row in rows] == [f"out/{rows[0]['group']}-{number:04d}.png" for number in (1, 2)]
    assert [row["label"] for row in rows] == ["upper", "upper"]
    for name, row in zip("ab", rows, strict=True):
        copy, original = (read_radiograph(file).pixels for file in (tmp_path / row["image"], folder / f"{name}.dcm"))
        assert np.abs(copy - original).max() <= 0.5 / 65535 + 1e-7
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    notes = " ".join(imported.notes)
    assert "Images copied" in notes and "Excluded images, not copied and not in the manifest: 1." in notes
    assert "1 image cannot be read: c.dcm. 1 x The DICOM file is truncated" in notes
    with pytest.raises(KerasOrthoError, match="not an empty folder"):
        import_dicom(folder, tmp_path / "n.csv", copy_to=out)


def test_phantoms(tmp_path: Path) -> None:
    """A round trip: what the phantom generator states of itself is what the importer reads out of its files."""
    made = generate_phantoms(tmp_path / "ph", PhantomSettings(patients=4, views=1, size=64, format="dicom", seed=3))
    imported = import_dicom(tmp_path / "ph", tmp_path / "m.csv", label="limb")
    truth = {row["image"].rsplit("/", 1)[-1]: row for row in made.rows}
    rows = imported.manifest.rows
    assert len(rows) == len(truth) == 4
    for row in rows:
        stated = truth[row["image"].rsplit("/", 1)[-1]]
        assert row["label"] == stated["label"]
        assert row["view"] and row["laterality"] in "LR" and row["intent"] == "FOR PRESENTATION"
        dataset = pydicom.dcmread(tmp_path / row["image"], stop_before_pixels=True)
        keyword = "PixelSpacing" if "PixelSpacing" in dataset else "ImagerPixelSpacing"
        assert row["spacing_source"] == keyword
        assert float(row["row_spacing_mm"]) == pytest.approx(dataset[keyword].value[0], rel=1e-5)
    by_stated = {truth[row["image"].rsplit("/", 1)[-1]]["group"]: row["group"] for row in rows}
    assert len(by_stated) == len(set(by_stated.values())) == 4


def test_real_file(real_data: Path, tmp_path: Path) -> None:
    imported = import_dicom(real_data / "data" / "dicom", tmp_path / "m.csv", label="limb", copy_to=tmp_path / "png")
    (row,) = imported.manifest.rows
    assert (row["modality"], row["body_part"], row["label"], row["photometric"]) == (
        "CR",
        "EXTREMITY",
        "",
        "MONOCHROME1",
    )
    assert (row["rows"], row["columns"], row["spacing_source"]) == ("1760", "1760", "")
    original = read_radiograph(real_data / "data" / "dicom" / "RG3_J2KI.dcm").pixels
    assert np.abs(read_radiograph(tmp_path / row["image"]).pixels - original).max() <= 0.5 / 65535 + 1e-7


def test_damaged_length_swallows_no_identity(tmp_path: Path, write_dx: Writer) -> None:
    """A body part of 60 bytes in place of 4 would hold the patient's birth date and all that follows."""
    write_dx(tmp_path / "a.dcm", BodyPartExamined="WRIS")
    data = (tmp_path / "a.dcm").read_bytes()
    start = data.index(b"CS\x04\x00WRIS")
    (tmp_path / "a.dcm").write_bytes(data[: start + 2] + b"\x3c\x00" + data[start + 4 :])
    header = read_header(tmp_path / "a.dcm", Pseudonyms(), tmp_path)
    assert header.body_part == "" and not header.problem
