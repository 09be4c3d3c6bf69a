"""The radiographs among a folder's DICOM files: whose they are, which are copies, and what else lies there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.duplicates import connected
from kerasortho.data.image_files import describe_skipped, search_folder
from kerasortho.data.importing.dicom_headers import DicomHeader, ShownFile, read_headers
from kerasortho.data.importing.importers import cell_for
from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.data.manifest import shorten
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import counted

WITHOUT_ID = ("refuse", "study", "image", "skip")
_COPY = "copy: same SOPInstanceUID as an earlier file"
_RAW = "raw: there is a FOR PRESENTATION image of this exposure"
_NO_DICOM = "no DICOM file"
_SHOWN_KINDS = 20
_FEW_STUDIES = 10  # of one patient, that make one wonder only beyond that


@dataclass(frozen=True)
class Radiographs:
    """What was found: parallel tuples of headers, groups and reasons to exclude ('' for none), and notes in words.

    ``grouped_by`` says for each where its group comes from: "study", or '' for PatientID.
    """

    headers: tuple[DicomHeader, ...]
    groups: tuple[str, ...]
    grouped_by: tuple[str, ...]
    excluded: tuple[str, ...]
    notes: tuple[str, ...]

    def only(self, places: Iterable[int]) -> Radiographs:
        """Return the images at ``places``, with the same notes."""
        kept = list(places)
        return Radiographs(
            tuple(self.headers[place] for place in kept),
            tuple(self.groups[place] for place in kept),
            tuple(self.grouped_by[place] for place in kept),
            tuple(self.excluded[place] for place in kept),
            self.notes,
        )


def find_radiographs(
    folder: Path,
    target: Path,
    pseudonyms: Pseudonyms,
    *,
    without_id: str = "refuse",
    marked: Collection[str] = (),
    processes: int = 1,
    what: str = "",
) -> Radiographs:
    """Return the single-frame grey projection radiographs below ``folder``, for a manifest written to ``target``.

    Args:
        folder: DICOM files of any names, at any depth, among files of any kind.
        target: the manifest.
        pseudonyms: names patients and studies.
        without_id: what becomes of images without PatientID. "refuse"; "study": the study is the group; "image": each
            is a group by itself; "skip": they are left out.
        marked: SOPInstanceUIDs of images that are wanted for their annotations, even if raw.
        processes: how many processes read headers.
        what: a word for the progress on stderr; empty for none.

    Raises:
        KerasOrthoError: no radiograph, or images without PatientID that are to be refused.
    """
    if without_id not in WITHOUT_ID:
        raise KerasOrthoError(
            f'--without-id must be one of {", ".join(WITHOUT_ID)}. Received: "{without_id}".'
            f"{did_you_mean(without_id, WITHOUT_ID)}"
        )
    content = search_folder(folder)
    headers = read_headers(content.images, pseudonyms, target.absolute().parent, processes=processes, what=what)
    notes = _describe_others(headers, content.others)
    usable = [header for header in headers if not header.problem and not header.skipped]
    if not usable:
        told = " ".join(notes) or "It is empty."
        raise KerasOrthoError(f"{folder} holds no radiograph as a DICOM file. {told}")
    lacking = [header for header in usable if not header.group]
    if lacking:
        notes.append(_settle_lacking(lacking, len(usable), without_id))
    if without_id == "skip":
        usable = [header for header in usable if header.group]
        if not usable:
            raise KerasOrthoError(f"None of the radiographs in {folder} has a PatientID. Choose another --without-id.")
    groups, tied = _groups(usable, pseudonyms, without_id)
    excluded, copies = _exclusions(usable, marked)
    return Radiographs(
        tuple(usable),
        tuple(groups),
        tuple("study" if without_id == "study" and not header.group else "" for header in usable),
        tuple(excluded),
        tuple([*notes, *tied, *copies, *_describe_doubts(usable, groups, excluded)]),
    )


def header_row(header: DicomHeader) -> dict[str, str]:
    """Return the manifest's cells that tell of an image, without identities."""
    row, column = (f"{side:g}" for side in header.spacing) if header.spacing else ("", "")
    return {
        "study": header.study,
        "modality": header.modality,
        "body_part": header.body_part,
        "view": header.view,
        "laterality": header.laterality,
        "intent": header.intent,
        "photometric": header.photometric,
        "rows": str(header.rows),
        "columns": str(header.columns),
        "row_spacing_mm": row,
        "column_spacing_mm": column,
        "spacing_source": header.spacing_source,
        "burned_in": header.burned_in,
    }


def header_cells(found: Radiographs, target: Path) -> list[dict[str, str]]:
    """Return the rows of a manifest at ``target``: image, group, where it comes from if not PatientID, and the rest."""
    by_study = any(found.grouped_by)
    rows = []
    for header, group, source, reason in zip(
        found.headers, found.groups, found.grouped_by, found.excluded, strict=True
    ):
        row = {"image": cell_for(header.file, target), "group": group}
        rows.append(row | ({"grouped_by": source} if by_study else {}) | {"exclude": reason} | header_row(header))
    return rows


def name_files(files: Iterable[ShownFile]) -> str:
    """Return the first few files by name, for a message; those whose name carries an identity are only counted."""
    listed = list(files)
    names = [item.shown for item in listed if item.shown]
    hidden = len(listed) - len(names)
    told = [shorten(names)] if names else []
    return " and ".join([*told, *([f"{hidden} whose name is a patient's"] if hidden else [])])


def _describe_others(headers: Sequence[DicomHeader], others: Sequence[Path]) -> list[str]:
    """Tell what is no radiograph, by kind and number."""
    notes = []
    broken = [header for header in headers if header.problem not in ("", _NO_DICOM)]
    if broken:
        listed = shorten(f"{header.file.name}: {header.problem}" for header in broken)
        notes.append(f"Left out, for they cannot be read: {counted(len(broken), 'file')} ({listed}).")
    directories = sum(header.is_directory for header in headers)
    if directories:
        notes.append(f"{counted(directories, 'DICOMDIR is', 'DICOMDIRs are')} ignored: the files themselves count.")
    kinds = Counter(
        f"{header.sop_class} ({header.skipped})" for header in headers if header.skipped and not header.is_directory
    )
    if kinds:
        listed = shorten((f"{number} {kind}" for kind, number in kinds.most_common()), _SHOWN_KINDS)
        notes.append(f"Skipped, being no single grey radiographs: {kinds.total()}, of them {listed}.")
    return notes + describe_skipped([*others, *(header.file for header in headers if header.problem == _NO_DICOM)])


def _settle_lacking(lacking: Sequence[DicomHeader], total: int, without_id: str) -> str:
    """Say what becomes of images without PatientID; raise KerasOrthoError if nobody has said so."""
    images = f"{len(lacking)} of {counted(total, 'radiograph')} {'has' if len(lacking) == 1 else 'have'} no PatientID"
    if without_id == "refuse":
        raise KerasOrthoError(
            f"{images} ({name_files(lacking)}), so nobody can tell which are of one patient. Say what they are: "
            "--without-id study (a study is a patient), image (each is a patient of its own), or skip (leave them out)."
        )
    homeless = [header for header in lacking if not header.study]
    if without_id == "study" and homeless:
        raise KerasOrthoError(
            f"{counted(len(homeless), 'radiograph has', 'radiographs have')} neither PatientID nor StudyInstanceUID "
            f"({name_files(homeless)}). Choose --without-id image or skip, or take them out of the folder."
        )
    fate = {"study": "Their study is their group", "image": "Each is a group by itself", "skip": "They are left out"}
    return f"{images}. {fate[without_id]}."


def _groups(headers: Sequence[DicomHeader], pseudonyms: Pseudonyms, without_id: str) -> tuple[list[str], list[str]]:
    """Return a group for every header, those that share a study joined, and what was joined, in words."""
    own, first, pairs = [], dict[str, int](), []
    patients = defaultdict(set)
    for place, header in enumerate(headers):
        study = header.study if header.group or without_id == "study" else ""
        alone = pseudonyms.name(f"alone {header.instance or place}")
        own.append(header.group or study.replace("s-", "g-") or alone)
        pairs += [(first.setdefault(name, place), place) for name in (own[place], study) if name]
        patients[study].add(header.group)
    joined = [own[root] for root in connected(len(headers), pairs)]
    crossing = sum(bool(study) and len(groups - {""}) > 1 for study, groups in patients.items())
    if not crossing:
        return joined, []
    studies = counted(crossing, "study has", "studies have")
    return joined, [f"{studies} images of several PatientIDs (a corrected number, perhaps): one group each."]


def _exclusions(headers: Sequence[DicomHeader], marked: Collection[str]) -> tuple[list[str], list[str]]:
    """Return a reason for every header that is a copy of another one, '' for the rest, and notes."""
    shown = defaultdict(set)
    for header in headers:
        if header.intent == "FOR PRESENTATION" and header.moment:
            shown[_exposure(header)].add(header.instance)
    derived_from = {source for header in headers if header.intent == "FOR PRESENTATION" for source in header.sources}
    seen: set[str] = set()
    reasons = []
    for header in headers:
        again = bool(header.instance) and header.instance in seen
        seen.add(header.instance)
        shown_too = header.instance in derived_from or (bool(header.moment) and bool(shown.get(_exposure(header))))
        raw = header.for_processing and shown_too and header.instance not in marked
        reasons.append(_COPY if again else _RAW if raw else "")
    notes = []
    copies, raw_ones = reasons.count(_COPY), reasons.count(_RAW)
    if copies:
        notes.append(
            f"{counted(copies, 'file repeats', 'files repeat')} the SOPInstanceUID of another and is excluded."
        )
    if raw_ones:
        notes.append(
            f"{counted(raw_ones, 'FOR PROCESSING image is', 'FOR PROCESSING images are')} excluded: the same exposure "
            "is there FOR PRESENTATION."
        )
    return reasons, notes


def _exposure(header: DicomHeader) -> tuple[str, ...]:
    return header.group, header.study, header.moment, header.body_part, header.view, header.laterality


def _describe_doubts(headers: Sequence[DicomHeader], groups: Sequence[str], excluded: Sequence[str]) -> list[str]:
    """Tell what a user should look at before training."""
    used = [header for header, reason in zip(headers, excluded, strict=True) if not reason]
    notes = []
    if raw := sum(header.for_processing for header in used):
        notes.append(
            f"{counted(raw, 'image is', 'images are')} FOR PROCESSING without a FOR PRESENTATION partner: raw detector "
            "values, which may not look like a radiograph."
        )
    if burned := sum(header.burned_in == "YES" for header in used):
        notes.append(f"{counted(burned, 'image has', 'images have')} text burned in (BurnedInAnnotation YES).")
    if twofold := sum(header.contradictory for header in used):
        notes.append(
            f"{counted(twofold, 'image names', 'images name')} an upper limb in one attribute and a lower one in the "
            "other (BodyPartExamined, AnatomicRegionSequence): no label from either."
        )
    largest, number = Counter(groups).most_common(1)[0]
    studies = len({header.study for header, group in zip(headers, groups, strict=True) if group == largest})
    if studies > _FEW_STUDIES and 2 * number > len(groups):
        notes.append(
            f"One PatientID holds {number} of {counted(len(groups), 'image')}, in {studies} studies: a placeholder, "
            "such as ANONYMOUS? Then group by study: kerasortho data split --group-column study --regroup."
        )
    if named := sum(header.named for header in headers):
        notes.append(
            f"{counted(named, 'path carries', 'paths carry')} a patient's name, number or birth date, and the "
            "manifest's column image is made of paths. Copy the images under other names with --copy-to DIR, or keep "
            "the manifest as safe as the images."
        )
    return notes
