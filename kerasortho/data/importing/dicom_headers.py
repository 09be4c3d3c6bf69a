"""Headers of DICOM files, many of them: what an importer needs to know, with pseudonyms in place of identities.

Whoever the patient is does not leave `read_header`: identities become pseudonyms there, in the process that reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from kerasortho.data.importing.dicom_terms import body_part_of, contradicts_itself, laterality_of, view_of
from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.data.manifest import relative_cell
from kerasortho.data.parallel import parallel_map
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.dicom import check_inflated_size, import_pydicom
from kerasortho.radiograph.dicom_object import PROJECTIONS, find_refusal, sop_class_name
from kerasortho.radiograph.dicom_values import integer_of, pixel_spacing, text_of, value_of
from kerasortho.radiograph.reading import default_max_pixels, is_dicom

IDENTITIES = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "OtherPatientIDs")
_OTHER_ATTRIBUTES = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID Modality PresentationIntentType AcquisitionDateTime "
    "AcquisitionDate AcquisitionTime SourceImageSequence "
    "BodyPartExamined AnatomicRegionSequence ViewPosition ViewCodeSequence Laterality ImageLaterality "
    "BurnedInAnnotation SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns BitsAllocated BitsStored "
    "HighBit PixelSpacing PixelSpacingCalibrationType ImagerPixelSpacing NominalScannedPixelSpacing"
)
_SHORTEST_PART = 4  # letters and digits; anything shorter is found in a path only as a word by itself
_START = 4096  # bytes that hold a file's meta information, with its transfer syntax
_DIRECTORY = "Media Storage Directory Storage"  # a DICOMDIR


class ShownFile(Protocol):
    """A file that messages may name as ``shown``; '' where its name carries an identity."""

    @property
    def shown(self) -> str: ...


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What one file says of itself.

    ``problem``: why it cannot be read, else ''. ``skipped``: why it is no single grey radiograph, else ''.
    ``group`` and ``study`` are pseudonyms of PatientID and StudyInstanceUID, '' without one. ``moment``: when the
    exposure was taken, '' unless to the second. ``sources``: the images that this one was derived from.
    ``named``: the file's path, as a manifest names it, carries an identity. ``shown``: the file's name for messages, ''
    where that carries one.
    """

    file: Path
    problem: str = ""
    skipped: str = ""
    sop_class: str = ""
    instance: str = ""
    sources: tuple[str, ...] = ()
    group: str = ""
    study: str = ""
    moment: str = ""
    intent: str = ""
    modality: str = ""
    body_part: str = ""
    contradictory: bool = False
    view: str = ""
    laterality: str = ""
    photometric: str = ""
    rows: int = 0
    columns: int = 0
    spacing: tuple[float, float] | None = None
    spacing_source: str = ""
    burned_in: str = ""
    named: bool = False
    shown: str = ""

    @property
    def is_directory(self) -> bool:
        """Tell whether the file is a DICOMDIR: a list of files, that holds no image."""
        return self.sop_class == _DIRECTORY

    @property
    def for_processing(self) -> bool:
        """Tell whether the image holds raw detector values, by its intent or its SOP class."""
        return self.intent == "FOR PROCESSING"


def read_headers(
    files: Sequence[Path], pseudonyms: Pseudonyms, folder: Path, *, processes: int = 1, what: str = ""
) -> list[DicomHeader]:
    """Return the headers of ``files``, in order, without reading any pixels.

    Args:
        files: files of any kind; those that are no DICOM files have a problem.
        pseudonyms: names patients and studies.
        folder: where the manifest will lie, whose cells name the files.
        processes: how many processes read.
        what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: pydicom is not installed.
    """
    import_pydicom()
    read = partial(read_header, pseudonyms=pseudonyms, folder=folder)
    return parallel_map(read, files, processes=processes, what=what)


def read_header(file: Path, pseudonyms: Pseudonyms, folder: Path) -> DicomHeader:
    """Return one file's header. Raises nothing for bad files: they have a problem, in words without identities."""
    try:
        dataset = read_attributes(file, [*IDENTITIES, *_OTHER_ATTRIBUTES.split()])
        return _header(file, dataset, pseudonyms, folder)
    except KerasOrthoError as error:
        return DicomHeader(file, problem=str(error))
    except OSError as error:
        return DicomHeader(file, problem=f"cannot be read ({error.strerror or type(error).__name__})")
    except Exception as error:  # pydicom raises all kinds of things on damaged files, and quotes their values
        return DicomHeader(file, problem=f"damaged ({type(error).__name__})")


def read_attributes(file: Path, keywords: Sequence[str]) -> Any:
    """Return a dataset of the attributes named by ``keywords``, as far as the file has them, without its pixels.

    Raises KerasOrthoError for files that are no DICOM, or inflate to too much, and whatever pydicom raises.
    """
    pydicom = import_pydicom()
    with file.open("rb") as stream:
        start = stream.read(_START)
    if not is_dicom(start):
        raise KerasOrthoError("no DICOM file")
    if pydicom.uid.DeflatedExplicitVRLittleEndian.encode() in start:
        check_inflated_size(file.read_bytes(), default_max_pixels())
    force = start[128:132] != b"DICM"
    return pydicom.dcmread(file, stop_before_pixels=True, force=force, specific_tags=list(keywords))


def _header(file: Path, dataset: Any, pseudonyms: Pseudonyms, folder: Path) -> DicomHeader:
    patient, study = text_of(dataset, "PatientID"), text_of(dataset, "StudyInstanceUID")
    modality = text_of(dataset, "Modality") or ""
    spacing, source, _ = pixel_spacing(dataset)
    identities = identities_of(dataset)
    refusal = find_refusal(dataset)
    skipped = refusal.reason if refusal else ""
    if not skipped and modality and modality not in PROJECTIONS:
        skipped = "no projection radiograph"
    return DicomHeader(
        file,
        skipped=skipped,
        sop_class=sop_class_name(dataset) or "unknown kind",
        instance=text_of(dataset, "SOPInstanceUID") or "",
        sources=tuple(referenced(dataset, "SourceImageSequence")),
        group=pseudonyms.name(patient) if patient else "",
        study=pseudonyms.name(study, "s") if study else "",
        moment=_moment(dataset),
        intent=_intent(dataset),
        modality=modality[:16],
        body_part=body_part_of(dataset),
        contradictory=contradicts_itself(dataset),
        view=view_of(dataset),
        laterality=laterality_of(dataset),
        photometric=text_of(dataset, "PhotometricInterpretation") or "",
        rows=integer_of(dataset, "Rows"),
        columns=integer_of(dataset, "Columns"),
        spacing=spacing,
        spacing_source=source or "",
        burned_in=(text_of(dataset, "BurnedInAnnotation") or "").upper()[:16],
        named=carries_identity(relative_cell(file.absolute(), folder), identities),
        shown="" if carries_identity(file.name, identities) else file.name,
    )


def referenced(dataset: Any, keyword: str) -> list[str]:
    """Return the ReferencedSOPInstanceUID of every item of a sequence; none where there is no such sequence."""
    uids = (text_of(item, "ReferencedSOPInstanceUID") for item in value_of(dataset, keyword) or ())
    return [uid for uid in uids if uid]


def _intent(dataset: Any) -> str:
    stated = (text_of(dataset, "PresentationIntentType") or "").upper()
    name = (sop_class_name(dataset) or "").upper()
    return stated or next((kind for kind in ("FOR PROCESSING", "FOR PRESENTATION") if name.endswith(kind)), "")


def _moment(dataset: Any) -> str:
    """Return date and time of the exposure, YYYYMMDDHHMMSS and perhaps fractions; '' if not known to the second."""
    moment = text_of(dataset, "AcquisitionDateTime")
    if not moment:
        moment = (text_of(dataset, "AcquisitionDate") or "") + (text_of(dataset, "AcquisitionTime") or "")
    digits = re.sub(r"[.:\-\s]", "", moment)
    return digits.rstrip("0") if re.match(r"[0-9]{14}", digits) else ""


def identities_of(dataset: Any) -> list[str]:
    """Return the patient's names, numbers and birth date, as words of letters and digits."""
    words = []
    for keyword in IDENTITIES:
        value = value_of(dataset, keyword)
        values = [] if value is None else list(value) if hasattr(value, "append") else [value]
        words += [
            part for text in map(str, values) for part in re.split(r"[\^=\s]+" if "Name" in keyword else r"\s", text)
        ]
    return [word for word in words if any(map(str.isalnum, word))]


def carries_identity(cell: str, identities: Sequence[str]) -> bool:
    """Tell whether a path holds one of the ``identities``, in whatever case and with whatever signs in between."""
    folded = unicodedata.normalize("NFKC", cell).casefold()
    letters = "".join(filter(str.isalnum, folded))
    words = set(re.split(r"[\W_]+", folded))
    for identity in identities:
        wanted = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", identity).casefold()))
        if wanted in words or (len(wanted) >= _SHORTEST_PART and wanted in letters):
            return True
    return False
