"""`kerasortho fit`: from a configuration to a trained run directory."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from kerasortho.config import Config, load_config
from kerasortho.data.samples import SampleSet, load_samples
from kerasortho.data.store import SampleStore, cache_folder, choose_place
from kerasortho.errors import KerasOrthoError
from kerasortho.files import explain_os_error, write_json
from kerasortho.models import MODELS, build_model, get_model_entry, save_model
from kerasortho.training.loop import Trainer
from kerasortho.training.plan import describe_plan, make_plan, require_disk
from kerasortho.training.run import RunDirectory
from kerasortho.training.runtime import environment, peak_memory_bytes, prepare_runtime
from kerasortho.training.state import Progression, load_progression


def fit(
    config: Config | str | os.PathLike[str],
    settings: Iterable[str] = (),
    *,
    runs: str | os.PathLike[str] = "runs",
    name: str | None = None,
) -> RunDirectory:
    """Train a model and return its run directory, ``runs/NAME``.

    Args:
        config: a Config, or the path of a YAML file.
        settings: changes such as ``"training.batch_size=8"``.
        runs: the folder of all runs.
        name: the name of this one; the configuration's own if None.

    Raises:
        KerasOrthoError: for anything wrong with configuration, data or machine, naming the fix. Nothing is written before
            the data has been read.

    Example::

        import kerasortho
        run = kerasortho.fit("configs/bone-unet.yaml", ["data.manifest=bones.csv"])
        print(kerasortho.evaluate(run)["metrics"]["dice"])
    """
    if not isinstance(config, Config):
        config = load_config(config, settings)
    folder = Path(runs) / (name or config.name)
    with _locked(folder):
        if any(p.name != ".lock" for p in folder.iterdir()):
            raise KerasOrthoError(
                f"{folder} exists already. Continue it with `kerasortho fit --resume {folder}`, or choose another --name."
            )
        prepare_runtime(config.training)
        samples = load_samples(config.data, config.task)
        model = _build(config, samples)
        stores, cache = _stores(config, samples)
        plan = make_plan(config, samples, model, cache, steps=-(-len(stores[0]) // config.training.batch_size))
        print(describe_plan(plan), file=sys.stderr, flush=True)
        require_disk(plan, folder)
        run = RunDirectory.create(folder, config, samples)
        write_json(run.path / "environment.json", environment(config.training.seed))
        write_json(run.path / "plan.json", plan)
        _train(run, model, stores, Progression())
    return run


def resume(path: str | os.PathLike[str]) -> RunDirectory:
    """Continue a training that was stopped or killed, exactly where its last checkpoint is, and return its run directory."""
    run = RunDirectory(path)
    with _locked(run.path):
        if run.complete:
            print(f"{run.path} has ended already; there is nothing to resume.", file=sys.stderr)
            return run
        last = run.checkpoints / "last.npz"
        progression = load_progression(last) if last.is_file() else Progression()
        prepare_runtime(run.config.training)
        samples = run.samples()
        model = _build(run.config, samples)
        stores, _ = _stores(run.config, samples)
        print(f"resuming {run.path}: {progression.epoch} of {run.config.epochs} epochs are done", file=sys.stderr)
        _train(run, model, stores, progression)
    return run


def _build(config: Config, samples: SampleSet) -> keras.Model:
    entry = get_model_entry(config.model.name)
    if entry.task != config.task:
        fitting = [name for name, other in MODELS.items() if other.task == config.task]
        raise KerasOrthoError(
            f'"model.name": {config.model.name} is a {entry.task} model, the task is {config.task}. '
            f"Models for it: {', '.join(fitting)}."
        )
    return build_model(
        config.model.name,
        input_size=config.preprocessing.size,
        classes=len(samples.classes),
        **config.model.options,
    )


def _stores(config: Config, samples: SampleSet) -> tuple[tuple[SampleStore, SampleStore], dict[str, object]]:
    """Prepare the training and the validation images."""
    folder = cache_folder(config.data.cache_dir)
    parts = [samples.split("train"), samples.split("val")]
    place, size = choose_place(
        sum(map(len, parts)), config.preprocessing, wanted=config.data.cache, folder=folder
    )
    train, val = (
        SampleStore(
            part, config.preprocessing, place=place, folder=folder, classes=len(samples.classes),
            workers=config.data.workers, label=f"preparing {what} images",
        )
        for part, what in zip(parts, ("training", "validation"), strict=True)
    )  # fmt: skip
    return (train, val), {"place": place, "bytes": size}


def _train(run: RunDirectory, model: keras.Model, stores: tuple[SampleStore, SampleStore], at: Progression) -> None:
    trainer = Trainer(run, model, *stores, at)
    try:
        trainer.train()
    except tf.errors.ResourceExhaustedError as error:
        raise KerasOrthoError(
            f"The memory of the device is too small for this batch: {str(error).splitlines()[0][:200]}. Lower "
            f"training.batch_size (now {run.config.training.batch_size}) or preprocessing.size, or set "
            "training.mixed_precision to mixed_float16 on a GPU."
        ) from None
    write_json(
        run.path / "training.json",
        {
            "best_epoch": at.best_epoch,
            "best": {run.config.training.monitor: at.best},
            "epochs": at.epoch,
            "seconds": round(at.seconds, 1),
            "peak_memory_bytes": peak_memory_bytes(),
        },
    )
    save_model(model, run.path / "model.keras")  # last: it says that the run is complete
    print(f"trained: {run.path} (best {run.config.training.monitor} {at.best:.4f} in epoch {at.best_epoch})", file=sys.stderr)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone; the lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "w")
    except OSError as error:
        raise explain_os_error(error, folder) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KerasOrthoError(f"Another process is training in {folder}. Wait for it, or choose another --name.") from None
        yield
