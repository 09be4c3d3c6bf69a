"""``kerasortho data import dicom`` and ``seg``: DICOM images, and DICOM segmentations as their masks."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.cli.import_options import overwrite_option, report, salt_env_option
from kerasortho.cli.options import processes_option
from kerasortho.data.importing.dicom_import import LABELS, import_dicom
from kerasortho.data.importing.dicom_radiographs import WITHOUT_ID
from kerasortho.data.importing.dicom_seg_import import SEVERAL, import_seg
from kerasortho.data.importing.pseudonyms import Pseudonyms

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)
_without_id_option = click.option(
    "--without-id",
    default="refuse",
    show_default=True,
    help=f"What becomes of images without PatientID: {', '.join(WITHOUT_ID)}.",
)
_copy_to_option = click.option(
    "--copy-to", type=_FOLDER, help="New folder for PNG copies of the images, whose names tell nothing of the patient."
)


@click.command("dicom")
@click.argument("folder", type=_FOLDER)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@click.option("--label", default="none", show_default=True, help=f"Where labels come from: {', '.join(LABELS)}.")
@click.option("--map", "label_map", type=_FILE, help="CSV with the columns value and label: the label for each value.")
@_without_id_option
@_copy_to_option
@salt_env_option
@processes_option
@overwrite_option
def dicom_command(
    folder: Path,
    output: Path,
    label: str,
    label_map: Path | None,
    without_id: str,
    copy_to: Path | None,
    salt_env: str | None,
    processes: int,
    overwrite: bool,
) -> None:
    """Radiographs in DICOM files of any names, at any depth.

    The column group is a pseudonym of PatientID, made with a secret that is not kept. Only headers are read.
    """
    report(
        import_dicom(
            folder,
            output,
            label=label,
            label_map=label_map,
            without_id=without_id,
            copy_to=copy_to,
            pseudonyms=Pseudonyms.from_environment(salt_env),
            overwrite=overwrite,
            processes=processes,
            what="reading headers",
        )
    )


@click.command("seg")
@click.option("--images", required=True, type=_FOLDER, help="Folder of DICOM images; sub-folders are searched too.")
@click.option("--segs", required=True, type=_FOLDER, help="Folder of DICOM SEG files; it may be the same.")
@click.argument("output", metavar="OUT.csv", type=_FILE)
@click.option("--segment", multiple=True, help="Segment to be marked, by label or number; may be given several times.")
@click.option(
    "--several",
    default="refuse",
    show_default=True,
    help=f"What counts where several files have the same segment of an image: {', '.join(SEVERAL)}.",
)
@click.option("--skip-unmatched", is_flag=True, help="Leave out images without a mask, instead of refusing.")
@_without_id_option
@_copy_to_option
@salt_env_option
@processes_option
@overwrite_option
def seg_command(
    images: Path,
    segs: Path,
    output: Path,
    segment: tuple[str, ...],
    several: str,
    skip_unmatched: bool,
    without_id: str,
    copy_to: Path | None,
    salt_env: str | None,
    processes: int,
    overwrite: bool,
) -> None:
    """DICOM images with the DICOM segmentations (SEG) that refer to them.

    Writes the chosen segments as masks into a folder beside OUT.csv.
    """
    report(
        import_seg(
            images,
            segs,
            output,
            segment=segment,
            several=several,
            skip_unmatched=skip_unmatched,
            without_id=without_id,
            copy_to=copy_to,
            pseudonyms=Pseudonyms.from_environment(salt_env),
            overwrite=overwrite,
            processes=processes,
            what="reading segmentations",
        )
    )
