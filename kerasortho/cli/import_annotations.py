"""``kerasortho data import coco`` and ``vgg``: masks from what was drawn in an annotation program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kerasortho.cli.import_options import overwrite_option, report
from kerasortho.cli.options import processes_option
from kerasortho.data.importing.annotation_import import AnnotationOptions

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--images", required=True, type=_FOLDER, help="Folder of the images; sub-folders are searched too."),
    click.option("--empty-masks", is_flag=True, help="Images without annotation: nothing is to be marked in them."),
    click.option("--skip-unannotated", is_flag=True, help="Images without annotation are left out."),
    click.option("--all-files", is_flag=True, help="Take in images that the file does not list, as unannotated ones."),
    click.option(
        "--view",
        type=click.Choice(["stored", "upright"]),
        help="How images with an EXIF orientation were annotated, where their size does not tell.",
    ),
    click.argument("output", metavar="OUT.csv", type=_FILE),
    processes_option,
    overwrite_option,
)


def _annotation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all annotation files have in common."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("coco")
@click.argument("annotations", metavar="ANNOTATIONS.json", type=_FILE)
@click.option("--category", "categories", multiple=True, help="Category to mark; may be repeated.")
@click.option(
    "--crowd", type=click.Choice(["mask", "ignore"]), help="Regions of several things: marked, or counted nowhere."
)
@_annotation_options
def coco_command(
    annotations: Path, categories: tuple[str, ...], crowd: Any, images: Path, output: Path, **chosen: Any
) -> None:
    """Polygons and run lengths of a COCO file.

    Masks are written into a folder beside OUT.csv.
    """
    from kerasortho.data.importing.coco import import_coco

    options = AnnotationOptions(**chosen, what="drawing masks")
    report(import_coco(annotations, images, output, categories=categories, crowd=crowd, options=options))


@click.command("vgg")
@click.argument("annotations", metavar="ANNOTATIONS.json", type=_FILE)
@click.option(
    "--attribute", "attributes", metavar="NAME=VALUE", multiple=True, help="Regions to mark; may be repeated."
)
@_annotation_options
def vgg_command(annotations: Path, attributes: tuple[str, ...], images: Path, output: Path, **chosen: Any) -> None:
    """Regions of a VGG Image Annotator file.

    Masks of polygons, rectangles, circles and ellipses are written into a folder beside OUT.csv.
    """
    from kerasortho.data.importing.vgg import import_vgg

    options = AnnotationOptions(**chosen, what="drawing masks")
    report(import_vgg(annotations, images, output, attributes=attributes, options=options))
