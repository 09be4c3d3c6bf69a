"""`kerasortho fit`: train a model, or go on with a training that was stopped."""

from __future__ import annotations

import click


@click.command()
@click.argument("config", required=False, type=click.Path())
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one: training.batch_size=8.")
@click.option("--runs", default="runs", show_default=True, type=click.Path(), help="Folder of all runs.")
@click.option("--name", help="Name of this run; by default the configuration's.")
@click.option("--resume", metavar="RUN", type=click.Path(), help="Go on with this run directory.")
@click.option("--deterministic", is_flag=True, help="Bit-identical repeats, at some cost in speed.")
def fit_command(
    config: str | None, settings: tuple[str, ...], runs: str, name: str | None, resume: str | None, deterministic: bool
) -> None:
    """Train the model that CONFIG (a YAML file, see configs/) describes, into RUNS/NAME.

    A training that was stopped or killed goes on with --resume RUN, exactly where it was.
    """
    if (config is None) == (resume is None):
        raise click.UsageError("Name a configuration, such as configs/bone-unet.yaml, or --resume RUN: one of the two.")
    if resume is not None:
        if settings or name or deterministic:
            raise click.UsageError(
                "--resume goes on with the run's own configuration: --set, --name and --deterministic do not apply."
            )
        from kerasortho.training.run import RunDirectory

        RunDirectory(resume)  # a wrong folder is told at once, before TensorFlow is loaded
        from kerasortho.training.fit import resume as resume_run

        run = resume_run(resume)
    else:
        assert config is not None
        from kerasortho.config import load_config

        if deterministic:
            settings = (*settings, "training.deterministic=true")
        recipe = load_config(config, settings)  # and so is a wrong key
        from kerasortho.training.fit import fit

        run = fit(recipe, runs=runs, name=name)
    click.echo(str(run.path))
