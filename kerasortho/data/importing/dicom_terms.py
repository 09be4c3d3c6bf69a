"""What DICOM says of anatomy, view and side, in one spelling each; and which limb a body part belongs to."""

from __future__ import annotations

import re
from typing import Any

from kerasortho.radiograph.dicom_values import text_of, value_of

_LONGEST = 64  # characters, of a value type LO

# SNOMED CT code (DICOM's CID 4 "Anatomic Region" and CID 7304) and Body Part Examined (PS3.16 annex L, or as it is
# usually written). What lies in the trunk or is no limb for certain (PELVIS, EXTREMITY, RIB) is left out on purpose.
_UPPER = {
    "85856004": "ACJOINT",
    "51299004": "CLAVICLE",
    "79601000": "SCAPULA",
    "16982005": "SHOULDER",
    "40983000": "ARM",
    "85050009": "HUMERUS",
    "16953009": "ELBOW",
    "14975008": "FOREARM",
    "62413002": "RADIUS",
    "23416004": "ULNA",
    "74670003": "WRIST",
    "30518006": "SCAPHOID",
    "85562004": "HAND",
    "36455000": "METACARPAL",
    "7569003": "FINGER",
    "125682004": "FINGER",
    "76505004": "THUMB",
    "53120007": "UPPERLIMB",
    "371195002": "BONE OF UPPER LIMB",
}
_LOWER = {
    "29836001": "HIP",
    "24136001": "HIP",
    "68367000": "THIGH",
    "71341001": "FEMUR",
    "72696002": "KNEE",
    "49076000": "KNEE",
    "64234005": "PATELLA",
    "30021000": "LEG",
    "12611008": "TIBIA",
    "87342007": "FIBULA",
    "70258002": "ANKLE",
    "27949001": "TARSAL JOINT",
    "67453005": "TALUS",
    "80144004": "CALCANEUS",
    "56459004": "FOOT",
    "29707007": "TOE",
    "58742003": "SESAMOID BONES OF FOOT",
    "61685007": "LOWERLIMB",
    "72001000": "BONE OF LOWER LIMB",
    "1231522001": "PELVISLOWEXTREMT",
}
BODY_PARTS = _UPPER | _LOWER
_OTHER_SPELLINGS = {
    "upper": "ACROMIOCLAVICULAR UPPERARM RADIUSULNA CARPUS METACARPUS FINGERS UPPEREXTREMITY",
    "lower": "PELVISANDLOWEREXTREMITIES LOWERLEG UPPERLEG TIBIAFIBULA TARSUS METATARSUS METATARSAL TOES HEEL "
    "LOWEREXTREMITY",
}
_VIEWS = {"399348003": "AP", "272479007": "PA", "399067008": "LATERAL", "399182000": "OBLIQUE"}  # of CID 4010


def body_part_of(dataset: Any) -> str:
    """Return BodyPartExamined in capitals, else the first anatomic region; '' if there is neither.

    The region comes first where only it names a limb (BodyPartExamined EXTREMITY says less than a region Hand).
    """
    found = [term for term in _named_parts(dataset) if term]
    return next((term for term in found if limb_of(term)), found[0] if found else "")


def contradicts_itself(dataset: Any) -> bool:
    """Tell whether BodyPartExamined and the anatomic region name different limbs."""
    return len({limb for term in _named_parts(dataset) if (limb := limb_of(term))}) > 1


def limb_of(body_part: str) -> str:
    """Return "upper" or "lower" for a body part that the table knows, in any spelling of blanks and case, else ''."""
    return _LIMBS.get(_squeezed(body_part), "")


def view_of(dataset: Any) -> str:
    """Return ViewPosition, else the view's code: AP, PA, LATERAL, OBLIQUE, or its meaning in capitals; '' if none."""
    return _upper(text_of(dataset, "ViewPosition")) or _coded(dataset, "ViewCodeSequence", _VIEWS)


def laterality_of(dataset: Any) -> str:
    """Return ImageLaterality, else Laterality: L, R, B (both), U (unpaired); '' if there is neither."""
    return _upper(text_of(dataset, "ImageLaterality") or text_of(dataset, "Laterality"))


def _named_parts(dataset: Any) -> tuple[str, str]:
    return _upper(text_of(dataset, "BodyPartExamined")), _coded(dataset, "AnatomicRegionSequence", BODY_PARTS)


def _coded(dataset: Any, keyword: str, known: dict[str, str]) -> str:
    sequence = value_of(dataset, keyword)
    item = sequence[0] if sequence else None
    if item is None:
        return ""
    return known.get(text_of(item, "CodeValue") or "") or _upper(text_of(item, "CodeMeaning"))


def _upper(text: str | None) -> str:
    return " ".join((text or "").upper().split())[:_LONGEST]


def _squeezed(term: str) -> str:
    """Return a term without blanks and signs, and without the word joint: "Hip joint" is HIP."""
    letters = re.sub(r"[^A-Z]", "", term.upper())
    return letters.removesuffix("JOINT") or letters


_LIMBS = {
    _squeezed(term): limb
    for limb, terms in (
        ("upper", [*_UPPER.values(), *_OTHER_SPELLINGS["upper"].split()]),
        ("lower", [*_LOWER.values(), *_OTHER_SPELLINGS["lower"].split()]),
    )
    for term in terms
}
