"""Body parts, views and sides, against the context groups of the DICOM standard as pydicom carries them."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom")

from pydicom.dataset import Dataset
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from kerasortho.data.importing.dicom_terms import (
    BODY_PARTS,
    body_part_of,
    contradicts_itself,
    laterality_of,
    limb_of,
    view_of,
)

# CID 4, Anatomic Region, by code: its meaning
REGIONS = {
    code: meaning
    for cid in (4, 1006, 7304)
    for name in cid_concepts[cid]["SCT"]
    for code, (meaning, _) in concepts["SCT"][name].items()
}


def header(part: str | None = None, region: tuple[str, str] | None = None, **attributes: object) -> Dataset:
    dataset = Dataset()
    if part is not None:
        dataset.BodyPartExamined = part
    if region is not None:
        dataset.AnatomicRegionSequence = [code(*region)]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def test_codes_are_the_standards() -> None:
    for value, term in BODY_PARTS.items():
        assert value in REGIONS, f"{value} ({term}) is in no context group"
        assert limb_of(REGIONS[value]) == limb_of(term), f"{REGIONS[value]} and {term} are of different limbs"


def test_limb() -> None:
    for part in ("HAND", "Hand", " upper  arm", "FOREARM", "Wrist joint", "CLAVICLE", "RADIUSULNA", "THUMB"):
        assert limb_of(part) == "upper", part
    for part in ("FOOT", "HIP", "Hip Joint", "LOWER LEG", "TIBIAFIBULA", "knee", "CALCANEUS", "TOE"):
        assert limb_of(part) == "lower", part
    for part in ("PELVIS", "EXTREMITY", "CHEST", "SKULL", "SPINE", "JOINT", "", "HANDS UP", "SACROILIAC JOINT"):
        assert limb_of(part) == "", part


def test_no_trunk_region_is_a_limb() -> None:
    limbs = {meaning for meaning in REGIONS.values() if limb_of(meaning)}
    assert limbs <= {REGIONS[value] for value in BODY_PARTS}


def test_body_part() -> None:
    assert body_part_of(header("Hand ")) == "HAND"
    assert body_part_of(header("", ("85562004", "Main"))) == "HAND"  # in whatever language
    assert body_part_of(header("EXTREMITY", ("56459004", "Foot"))) == "FOOT"
    assert body_part_of(header("WRIST", ("85562004", "Hand"))) == "WRIST"
    assert body_part_of(header(None, ("1", "Left  big toe nail"))) == "LEFT BIG TOE NAIL"
    assert body_part_of(header()) == ""
    assert not contradicts_itself(header("EXTREMITY", ("56459004", "Foot")))
    assert contradicts_itself(header("HAND", ("56459004", "Foot")))


def test_view_and_laterality() -> None:
    assert view_of(header(ViewPosition="ap")) == "AP"
    assert view_of(header(ViewCodeSequence=[code("272479007", "postero-anterior")])) == "PA"
    assert view_of(header(ViewCodeSequence=[code("7", "tunnel view")])) == "TUNNEL VIEW"
    assert view_of(header(ViewCodeSequence=[])) == ""
    assert laterality_of(header(Laterality="R")) == "R"
    assert laterality_of(header(Laterality="R", ImageLaterality="L")) == "L"
    assert laterality_of(header()) == ""
