"""``kerasortho data phantom``: synthetic limb radiographs with exact bone masks."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.cli.options import processes_option
from kerasortho.words import counted


@click.command("phantom")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--patients", default=40, show_default=True, help="How many patients; upper and lower limbs alternate.")
@click.option("--views", default=2, show_default=True, help="Pictures of each patient: frontal, lateral, oblique, ...")
@click.option("--size", default=512, show_default=True, help="The longer side of a picture in pixels.")
@click.option(
    "--format", "file_format", default="png", show_default=True, help="png (8 and 16 bit) or dicom (DX, 12 bit)."
)
@click.option("--fractures", default=0.15, show_default=True, help="Share of patients with a fracture.")
@click.option(
    "--extras",
    default=0.5,
    show_default=True,
    help="Share of pictures with wide fields, casts, metal, a second limb, somebody's hand, two exposures.",
)
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same files.")
@processes_option
def phantom_command(
    out: Path,
    patients: int,
    views: int,
    size: int,
    file_format: str,
    fractures: float,
    extras: float,
    seed: int,
    processes: int,
) -> None:
    """Draw synthetic limb radiographs with exact bone masks into the new or empty folder OUT.

    Writes OUT/images, OUT/masks (bone), OUT/labels (which bone: labels.json), OUT/fractures and OUT/manifest.csv: label
    upper or lower, one group a patient, a stratified split.
    """
    from kerasortho.data.phantom import PhantomSettings, generate_phantoms

    settings = PhantomSettings(patients, views, size, file_format, fractures, extras, seed)
    manifest = generate_phantoms(out, settings, processes=processes)
    drawn = f"{counted(len(manifest.rows), 'radiograph')} of {counted(patients, 'patient')}"
    click.echo(f"{drawn} with bone masks. Manifest: {manifest.path}")
