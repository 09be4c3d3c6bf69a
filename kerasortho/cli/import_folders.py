"""``kerasortho data import classes``, ``pairs`` and ``fracatlas``: images that lie in folders."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.cli.import_options import overwrite_option, report
from kerasortho.cli.options import processes_option
from kerasortho.data.importing.fracatlas import import_fracatlas
from kerasortho.data.importing.importers import import_classes, import_pairs

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


@click.command("classes")
@click.argument("folder", type=_FOLDER)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@overwrite_option
def classes_command(folder: Path, output: Path, overwrite: bool) -> None:
    """One sub-folder a class: FOLDER/hand/0001.png has the label "hand"."""
    report(import_classes(folder, output, overwrite=overwrite))


@click.command("pairs")
@click.option("--images", required=True, type=_FOLDER, help="Folder of images; sub-folders are searched too.")
@click.option("--masks", required=True, type=_FOLDER, help="Folder of masks, named like their images up to the ending.")
@click.option("--ignore", type=_FOLDER, help="Folder of masks of doubtful pixels, that count in no loss and no score.")
@click.option("--columns", type=_FILE, help="CSV whose columns are taken over.")
@click.option("--columns-key", default="image", show_default=True, help="Column of that CSV that names the image.")
@click.option("--skip-unmatched", is_flag=True, help="Leave out images without a mask, instead of refusing.")
@click.argument("output", metavar="OUT.csv", type=_FILE)
@overwrite_option
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
    report(
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


@click.command("fracatlas")
@click.argument("folder", type=_FOLDER)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@click.option("--published-split", is_flag=True, help="Take over the archive's own split (it leaks).")
@processes_option
@overwrite_option
def fracatlas_command(folder: Path, output: Path, published_split: bool, processes: int, overwrite: bool) -> None:
    """The FracAtlas archive (doi:10.6084/m9.figshare.22363012).

    Writes region and limb labels, all flags, and fracture masks into a folder beside OUT.csv.
    """
    report(
        import_fracatlas(
            folder,
            output,
            published_split=published_split,
            overwrite=overwrite,
            processes=processes,
            what="reading images",
        )
    )
