"""``kerasortho data import``: a manifest from what a user has. Each command is in a module of its own kind."""

from __future__ import annotations

import click

from kerasortho.cli.lazy import LazyCommand, LazyGroup

IMPORT_COMMANDS = {
    "classes": LazyCommand("kerasortho.cli.import_folders:classes_command", "One sub-folder a class."),
    "pairs": LazyCommand("kerasortho.cli.import_folders:pairs_command", "Images and masks of the same names."),
    "labels": LazyCommand("kerasortho.cli.import_labels:labels_command", "Masks of several classes, or colours."),
    "csv": LazyCommand("kerasortho.cli.import_list:csv_command", "A list of images with columns of any name."),
    "coco": LazyCommand("kerasortho.cli.import_annotations:coco_command", "Polygons and run lengths of a COCO file."),
    "vgg": LazyCommand("kerasortho.cli.import_annotations:vgg_command", "Regions of a VGG Image Annotator file."),
    "nnunet": LazyCommand("kerasortho.cli.import_nnunet:nnunet_command", "A dataset in nnU-Net's layout."),
    "fracatlas": LazyCommand("kerasortho.cli.import_folders:fracatlas_command", "The published FracAtlas archive."),
    "dicom": LazyCommand("kerasortho.cli.import_dicom:dicom_command", "DICOM files; patients become groups."),
    "seg": LazyCommand("kerasortho.cli.import_dicom:seg_command", "DICOM images and segmentations as masks."),
}


@click.group("import", cls=LazyGroup, lazy=IMPORT_COMMANDS)
def import_command() -> None:
    """Write a manifest (CSV) of images that lie in folders.

    What is noticed on the way is told on stderr.
    """
