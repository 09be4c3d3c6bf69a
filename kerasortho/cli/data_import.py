"""``kerasortho data import``: a manifest from folders as they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from kerasortho.cli.options import processes_option
from kerasortho.data.fracatlas import import_fracatlas
from kerasortho.data.importers import Imported, import_classes, import_pairs
from kerasortho.words import counted

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace OUT.csv if it exists.")


@click.group("import")
def import_command() -> None:
    """Write a manifest (CSV) of images that lie in folders.

    What is noticed on the way is told on stderr.
    """


@import_command.command("classes")
@click.argument("folder", type=_FOLDER)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@_OVERWRITE
def classes_command(folder: Path, output: Path, overwrite: bool) -> None:
    """One sub-folder a class: FOLDER/hand/0001.png has the label "hand"."""
    _report(import_classes(folder, output, overwrite=overwrite))


@import_command.command("pairs")
@click.option("--images", required=True, type=_FOLDER, help="Folder of images; sub-folders are searched too.")
@click.option("--masks", required=True, type=_FOLDER, help="Folder of masks, named like their images up to the ending.")
@click.option("--ignore", type=_FOLDER, help="Folder of masks of doubtful pixels, that count in no loss and no score.")
@click.option("--columns", type=_FILE, help="CSV whose columns are taken over.")
@click.option("--columns-key", default="image", show_default=True, help="Column of that CSV that names the image.")
@click.option("--skip-unmatched", is_flag=True, help="Leave out images without a mask, instead of refusing.")
@click.argument("output", metavar="OUT.csv", type=_FILE)
@_OVERWRITE
def pairs_command(
    images: Path,
    masks: Path,
    ignore: Path | None,
    columns: Path | None,
    columns_key: str,
    skip_unmatched: bool,
    output: Path,
    overwrite: bool,
) -> None:
    """Images and masks of the same names in two folders."""
    _report(
        import_pairs(
            images,
            masks,
            output,
            ignore=ignore,
            columns=columns,
            columns_key=columns_key,
            skip_unmatched=skip_unmatched,
            overwrite=overwrite,
        )
    )


@import_command.command("fracatlas")
@click.argument("folder", type=_FOLDER)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@click.option("--published-split", is_flag=True, help="Take over the archive's own split (it leaks).")
@processes_option
@_OVERWRITE
def fracatlas_command(folder: Path, output: Path, published_split: bool, processes: int, overwrite: bool) -> None:
    """The FracAtlas archive (doi:10.6084/m9.figshare.22363012).

    Writes region and limb labels, all flags, and fracture masks into a folder beside OUT.csv.
    """
    _report(
        import_fracatlas(
            folder,
            output,
            published_split=published_split,
            overwrite=overwrite,
            processes=processes,
            what="reading images",
        )
    )


def _report(imported: Imported) -> None:
    for note in imported.notes:
        click.echo(note, err=True)
    rows = imported.manifest.rows
    excluded = sum(bool(row.get("exclude")) for row in rows)
    aside = f", {excluded} of them excluded" if excluded else ""
    if "label" in imported.manifest.columns:
        counts = Counter(row["label"] for row in rows)
        click.echo(f"labels: {', '.join(f'{label} {number}' for label, number in sorted(counts.items()))}", err=True)
    click.echo(
        f"Wrote {imported.manifest.path}: {counted(len(rows), 'image')}{aside}. "
        f"Next: kerasortho data check {imported.manifest.path}"
    )
