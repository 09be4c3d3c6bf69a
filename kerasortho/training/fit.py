"""`kerasortho fit`: from a configuration to a trained run directory."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf

from kerasortho.config import Config, config_with, load_config
from kerasortho.data.cache import cache_folder, choose_place
from kerasortho.data.pipeline import batches_an_epoch
from kerasortho.data.samples import SampleSet, load_samples
from kerasortho.data.store import SampleStore
from kerasortho.errors import KerasOrthoError, find_exhausted
from kerasortho.files import explain_os_error, locked, remove_leftovers, write_json
from kerasortho.models import MODELS, build_model, get_base, get_model_entry, save_model, unfreeze
from kerasortho.training.loop import Trainer
from kerasortho.training.objective import check_objective, check_output
from kerasortho.training.plan import describe_plan, make_plan, require_disk
from kerasortho.training.run import RunDirectory, require_new
from kerasortho.training.runtime import changed_software, environment, peak_memory_bytes, prepare_runtime
from kerasortho.training.start import describe_start, open_start, start_options, take_weights
from kerasortho.training.state import Progression, load_progression


def fit(
    config: Config | str | os.PathLike[str],
    settings: Iterable[str] = (),
    *,
    runs: str | os.PathLike[str] = "runs",
    name: str | None = None,
) -> RunDirectory:
    """Train a model and return its run directory, ``runs/NAME``.

    A training that fails before its first checkpoint leaves nothing behind.

    Args:
        config: a Config, or the path of a YAML file.
        settings: changes such as ``"training.batch_size=8"``.
        runs: the folder of all runs.
        name: the name of this one; the configuration's own if None.

    Raises:
        KerasOrthoError: for anything wrong with configuration, data or machine, naming the fix.
        Interrupted: after SIGINT or SIGTERM; everything is saved.

    Example::

        import kerasortho
        run = kerasortho.fit("configs/bone-unet.yaml", ["data.manifest=bones.csv"])
        print(kerasortho.evaluate(run)["metrics"]["dice"])
    """
    if not isinstance(config, Config):
        config = load_config(config, settings)
    else:
        config = config_with(config.to_dict(), settings)
    config = replace(config, name=config.name if name is None else name)
    folder = Path(runs) / config.name
    with _explained(config, folder):
        samples, model = _check(config)  # before the folder: its name may be among the things to be changed
        return _start(folder, _settled(config, model), samples, model)


def resume(path: str | os.PathLike[str]) -> RunDirectory:
    """Continue a training that was stopped or killed, exactly from its last checkpoint; return its run directory."""
    run = RunDirectory(path)
    with _locked(run.path), _explained(run.config, run.path):
        if run.complete:
            print(f"{run.path} has ended already; there is nothing to resume.", file=sys.stderr)
            return run
        for folder in (run.path, run.checkpoints):
            remove_leftovers(folder)
        last = run.checkpoints / "last.npz"
        started = last.is_file()
        progression = load_progression(last) if started else Progression()
        prepare_runtime(run.config.training)
        samples = run.samples()
        model = _build(run.config, samples, pretrained=not started)
        stores, _ = _stores(run.config, samples)
        if changes := changed_software(run.document("environment")):
            print(
                f"warning: {run.path} began with other software, so that the result may differ from an uninterrupted "
                f"run's: {', '.join(changes)}",
                file=sys.stderr,
            )
        print(f"resuming {run.path}: {progression.epoch} of {run.config.epochs} epochs are done", file=sys.stderr)
        _train(run, model, stores, progression)
    return run


def _check(config: Config) -> tuple[SampleSet, keras.Model]:
    """Return the samples and the model of a configuration. Raises KerasOrthoError for what is wrong with it."""
    prepare_runtime(config.training)
    check_objective(config)
    samples = load_samples(config.data, config.task)
    model = _build(config, samples)
    check_output(config, model)
    return samples, model


def _settled(config: Config, model: keras.Model) -> Config:
    """Return ``config`` with what the weights file decided, so that a resumed run needs the file no more."""
    key, base = "learn_batchnorm_from", get_base(model)
    if base is None or key not in get_model_entry(config.model.name).options:
        return config
    options = {**config.model.options, key: base.learn_batchnorm_from}
    return replace(config, model=replace(config.model, options=options))


def _start(folder: Path, config: Config, samples: SampleSet, model: keras.Model) -> RunDirectory:
    """Say the plan, write the run directory and train; a folder that has no checkpoint yet is removed on failure."""
    with _locked(folder):
        require_new(folder)
        try:
            stores, cache = _stores(config, samples)
            plan = make_plan(config, samples, model, cache, steps=batches_an_epoch(stores[0], config))
            print(describe_plan(plan), file=sys.stderr, flush=True)
            require_disk(plan, folder)
            documents = {"environment": environment(config.training.seed), "plan": plan}
            if config.model.start_from is not None:
                documents["start"] = describe_start(open_start(config))
            run = RunDirectory.create(folder, config, samples, **documents)
            _train(run, model, stores, Progression())
            return run
        except BaseException:
            if not (folder / "checkpoints" / "last.npz").is_file():  # there is nothing to go on with
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _build(config: Config, samples: SampleSet, *, pretrained: bool = True) -> keras.Model:
    """Build the model; without ``pretrained``, for a checkpoint to fill, no weights are looked for or downloaded.

    With ``model.start_from``, they are those of another run.
    """
    entry = get_model_entry(config.model.name)
    if entry.task != config.task:
        fitting = [name for name, other in MODELS.items() if other.task == config.task]
        raise KerasOrthoError(
            f'"model.name": {config.model.name} is a {entry.task} model, the task is {config.task}. '
            f"Models for it: {', '.join(fitting)}."
        )
    options = {**entry.options, **config.model.options}
    start = open_start(config) if pretrained and config.model.start_from is not None else None
    if start is not None:
        options = start_options(options, start)
    if not pretrained and "weights" in options:
        options["weights"] = None
    model = build_model(
        config.model.name, input_size=config.preprocessing.size, classes=len(samples.classes), **options
    )
    if start is not None:
        take_weights(model, start)
    for phase in config.training.phases:
        unfreeze(model, phase.unfreeze_from)  # a wrong name is found now, not when its phase begins
    return model


def _stores(config: Config, samples: SampleSet) -> tuple[tuple[SampleStore, SampleStore], dict[str, object]]:
    """Prepare the training and the validation images."""
    folder, spec = cache_folder(config.data.cache_dir), config.preprocessing
    parts = [samples.split("train"), samples.split("val")]
    on_disk = all(SampleStore(part, spec, place="none").is_on_disk(folder) for part in parts)
    place, size = choose_place(sum(map(len, parts)), spec, wanted=config.data.cache, folder=folder, on_disk=on_disk)
    train, val = (
        SampleStore(
            part, spec, place=place, folder=folder, classes=len(samples.classes),
            workers=config.data.workers, label=f"preparing {what} images",
        )
        for part, what in zip(parts, ("training", "validation"), strict=True)
    )  # fmt: skip
    return (train, val), {"place": place, "bytes": size}


def _train(run: RunDirectory, model: keras.Model, stores: tuple[SampleStore, SampleStore], at: Progression) -> None:
    Trainer(run, model, *stores, at).train()
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
    best = f"best {run.config.training.monitor} {at.best:.4f} in epoch {at.best_epoch}"
    print(f"trained: {run.path} ({best})", file=sys.stderr)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone."""
    try:
        with locked(folder / ".lock"):
            yield
    except BlockingIOError:
        message = f"Another process is training in {folder}. Wait for it, or choose another --name."
        raise KerasOrthoError(message) from None


@contextmanager
def _explained(config: Config, folder: Path) -> Iterator[None]:
    """Put into words what TensorFlow raises when memory or disk run out, or when the pipeline cannot read an image."""
    try:
        yield
    except tf.errors.OpError as error:
        if inner := re.search(r"KerasOrthoError: (.+)", str(error)):
            raise KerasOrthoError(inner[1]) from error
        found = find_exhausted(error)
        if found is None:
            raise
        what, reason = found
        if what == "disk":  # for the logs
            raise explain_os_error(OSError(errno.ENOSPC, "No space left on device"), folder) from error
        raise KerasOrthoError(
            f"The memory of the device is too small for this batch: {reason}. Lower "
            f"training.batch_size (now {config.training.batch_size}) or preprocessing.size, or set "
            "training.mixed_precision to mixed_float16 on a GPU; nvidia-smi tells whether another program holds it."
        ) from error
