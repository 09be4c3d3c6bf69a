"""``kerasortho data split``: train, validation and test images, or folds, that share no group."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.cli.options import processes_option
from kerasortho.data.grouping import GroupChoice
from kerasortho.data.manifest import read_manifest, write_manifest
from kerasortho.data.splitting import describe_parts, split_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.files import require_writable
from kerasortho.words import echo


@click.command("split")
@click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--fractions", metavar="TRAIN,VAL,TEST", help="Shares of images.  [default: 0.7,0.15,0.15]")
@click.option("--folds", type=click.IntRange(min=2), metavar="K", help="Write K folds (column fold) instead of splits.")
@click.option(
    "--stratify", metavar="COLUMN", help="Column whose values every part gets its share of.  [default: label, if there]"
)
@click.option("--group-column", metavar="COLUMN", help="Column of patients or studies.  [default: group, if there]")
@click.option(
    "--id-blocks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Group images whose file numbers lie in one block of N.",
)
@click.option("--ungrouped", is_flag=True, help="Every image is its own group: only if no patient has two images.")
@click.option(
    "--regroup", is_flag=True, help="Make groups anew, though the column group has some that are not single images."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--quick", is_flag=True, help="Search for duplicates saved again only, not for turned, mirrored or cropped ones."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, and leave MANIFEST as it is."
)
@processes_option
def split_command(
    manifest: Path,
    fractions: str | None,
    folds: int | None,
    stratify: str | None,
    group_column: str | None,
    id_blocks: int | None,
    ungrouped: bool,
    regroup: bool,
    seed: int,
    quick: bool,
    output: Path | None,
    processes: int,
) -> None:
    """Write splits or folds into MANIFEST: no group, and no pair of duplicates, crosses them; classes are balanced.

    The column grouped_by remembers where the groups came from.
    """
    if fractions and folds:
        raise KerasOrthoError("--fractions and --folds exclude each other. Run the command twice for both.")
    require_writable((output or manifest).parent)
    result, notes = split_manifest(
        read_manifest(manifest),
        GroupChoice(column=group_column, id_blocks=id_blocks, ungrouped=ungrouped, regroup=regroup),
        fractions=_numbers(fractions) if fractions else None,
        folds=folds,
        stratify=stratify,
        seed=seed,
        quick=quick,
        processes=processes,
        what="reading images",
    )
    write_manifest(result, output)
    for note in notes:
        click.echo(note, err=True)
    click.echo(describe_parts(result, "fold" if folds else "split", stratify))
    click.echo(f"Wrote {output or manifest}.")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise KerasOrthoError(
            f"--fractions takes three numbers such as 0.7,0.15,0.15. Received: {echo(text)}"
        ) from None
