"""``kerasortho data import dicom`` and ``seg``: DICOM images, and DICOM segmentations as their masks."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.cli.import_options import overwrite_option, report, salt_env_option
from kerasortho.cli.options import processes_option
from kerasortho.data.dicom_import import LABELS, import_dicom
from kerasortho.data.dicom_radiographs import WITHOUT_ID
from kerasortho.data.pseudonyms import Pseudonyms

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)
_without_id_option = click.option(
    "--without-id",
    default="refuse",
    show_default=True,
    help=f"What becomes of images without PatientID: {', '.join(WITHOUT_ID)}.",
)


@click.command("dicom")
@click.argument("folder", type=_FOLDER)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@click.option("--label", default="none", show_default=True, help=f"Where labels come from: {', '.join(LABELS)}.")
@click.option("--map", "label_map", type=_FILE, help="CSV with the columns value and label: the label for each value.")
@_without_id_option
@click.option("--copy-to", type=_FOLDER, help="New folder for PNG copies whose names tell nothing of the patient.")
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
