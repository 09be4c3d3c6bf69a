"""The configuration of a training run: frozen dataclasses, read strictly from YAML.

Every default stands here and nowhere else; ``configs/*.yaml`` name only what a recipe changes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kerasortho.data.augmentation_spec import Augmentation
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.radiograph.preprocessing import Preprocessing
from kerasortho.schema import WrongKindError, build
from kerasortho.settings import check_settings, parse_setting, plain, set_key
from kerasortho.words import cut, echo
from kerasortho.yaml_file import read_yaml, require_configuration_file

Task = Literal["classification", "segmentation"]
METRICS = {  # what a task measures while training, and which of two values is better
    "classification": {"loss": "min", "accuracy": "max"},
    "segmentation": {"loss": "min", "dice": "max", "global_dice": "max"},
}
_EXAMPLES = {  # values whose kind a user may not guess
    "data.classes": "[lower, upper]",
    "data.where": "{limb: [upper]}",
    "preprocessing.size": "[height, width]",
    "augmentation.scale": "[0.9, 1.1]",
    "model.options": "{dropout: 0.2}",
    "training.phases": "[{epochs: 10, learning_rate: 0.001}]",
}
_TASK_KEYS = {  # keys of `training` that one task alone understands
    "classification": ("label_smoothing", "class_weights"),
    "segmentation": ("loss", "loss_options", "border_weight", "border_sigma", "foreground_fraction"),
}


@dataclass(frozen=True)
class DataConfig:
    """Which images, and which columns of their manifest say what."""

    manifest: str  # CSV written by `kerasortho data import`
    label: str = "label"  # classification: the column with the class
    classes: tuple[str, ...] | None = None  # None: the values found in the training rows, sorted
    mask: str = "mask"  # segmentation: the column with the mask file
    ignore: str = "ignore"  # segmentation: the column with the doubtful-pixel mask, where there is one
    blank: str = "blank"  # the column with boxes to blank before preprocessing, where there is one
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # keep only rows with these values
    balance: str | None = None  # a column, such as region, whose rare values an epoch shows more often
    fold: int | None = None  # with folds in the manifest: this fold tests, the next one validates
    cache: Literal["auto", "memory", "disk", "none"] = "auto"  # prepared (decoded, resized) images
    cache_dir: str | None = None  # None: $KERASORTHO_CACHE or ~/.cache/kerasortho
    workers: int = 0  # threads that read images; 0: one a core
    source: str = ""  # where the images come from, for the model card: a dataset's name and reference
    licence: str = ""  # under which the images may be used, for the model card


@dataclass(frozen=True)
class ModelConfig:
    """Which model of the registry (`kerasortho models`), and its options."""

    name: str  # such as unet or resnet50
    options: Mapping[str, Any] = field(default_factory=dict)  # such as dropout; the model's own defaults otherwise
    start_from: str | None = None  # a run of the same model, such as runs/phantom-bone, whose weights it begins with


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own learning rate and its own frozen part."""

    epochs: int  # passes over the training images
    learning_rate: float = 1e-3  # peak, reached after warm-up, then cosine decay to final_fraction of it
    unfreeze_from: str | None = None  # backbone layers from this one on are trained, or all; None: it is frozen
    warmup_epochs: float = 1.0  # the learning rate rises from 0 during these
    final_fraction: float = 0.01  # of the peak learning rate, at the phase's end


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found."""

    phases: tuple[Phase, ...]  # one after the other, each from the best weights so far
    batch_size: int = 16  # images a step
    loss: str = "bce"  # segmentation: bce, bce_dice, dice, focal, tversky, softmax_ce
    loss_options: Mapping[str, Any] = field(default_factory=dict)  # segmentation: such as pos_weight: auto
    border_weight: float = 0.0  # segmentation: w0 of the U-Net paper's border weight map; 0: off
    border_sigma: float = 5.0  # segmentation: its sigma, in pixels of the model's input
    label_smoothing: float = 0.0  # classification only
    class_weights: Literal["none", "auto"] = "none"  # classification: weigh classes by inverse frequency
    foreground_fraction: float | None = None  # segmentation: share of images with foreground in an epoch
    weight_decay: float = 1e-4  # AdamW
    clip_norm: float | None = 1.0  # longest gradient of a step, all variables together; None: any
    monitor: str = "val_loss"  # what best means, for the kept checkpoint and for early stopping
    mode: Literal["min", "max"] = "min"  # min for a loss; max for accuracy, dice and global_dice
    patience: int | None = None  # epochs without improvement before a phase ends early; None: never
    seed: int = 0  # of weights, order, augmentation and dropout
    deterministic: bool = False  # bit-identical repeats, at some cost in speed
    mixed_precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"  # Keras's dtype policy
    jit: bool = False  # XLA
    checkpoint_minutes: float = 10.0  # save inside an epoch, too, at least this often


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is judged and used."""

    threshold: float = 0.5  # segmentation: probability from which a pixel is foreground
    bootstrap: int = 2000  # resamples of groups for the 95 % intervals


@dataclass(frozen=True)
class Config:
    """One training run, resolved: everything that decides its result."""

    name: str  # of the run, and of its folder
    task: Task  # of whole images, or of pixels
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        training, phases = self.training, self.training.phases
        fraction = training.foreground_fraction
        self._require_monitor()
        better = METRICS[self.task][training.monitor.removeprefix("val_")]
        checks = [
            (self.name.strip(". ") == self.name != "" and not set(self.name) & set('/\\:*?"<>|'),
             "name", "a name that a folder can have"),
            (self.data.fold is None or self.data.fold >= 0, "data.fold", "0, 1, 2, ..."),
            (self.data.workers >= 0, "data.workers", "0 (one a core) or a number of threads"),
            (self.data.balance is None or fraction is None, "data.balance",
             "null where training.foreground_fraction is set: both say what an epoch shows"),
            (len(phases) >= 1, "training.phases", "a list of at least one phase"),
            (all(p.epochs >= 1 for p in phases), "training.phases[].epochs", "at least 1"),
            (all(p.learning_rate > 0 for p in phases), "training.phases[].learning_rate", "above 0"),
            (all(p.warmup_epochs >= 0 for p in phases), "training.phases[].warmup_epochs", "at least 0"),
            (all(0 <= p.final_fraction <= 1 for p in phases), "training.phases[].final_fraction", "from 0 to 1"),
            (training.batch_size >= 1, "training.batch_size", "at least 1"),
            (training.border_weight >= 0, "training.border_weight", "0 (off) or more"),
            (training.border_sigma > 0, "training.border_sigma", "above 0"),
            (0 <= training.label_smoothing < 1, "training.label_smoothing", "at least 0 and below 1"),
            (fraction is None or 0 < fraction <= 1, "training.foreground_fraction", "above 0 and at most 1"),
            (training.weight_decay >= 0, "training.weight_decay", "0 (off) or more"),
            (training.clip_norm is None or training.clip_norm > 0, "training.clip_norm", "above 0, or null for none"),
            (training.mode == better, "training.mode", f"{better} where training.monitor is {training.monitor}"),
            (training.patience is None or training.patience >= 1, "training.patience", "at least 1, or null for never"),
            (0 <= training.seed < 2**31, "training.seed", "from 0 to 2147483647"),
            (training.checkpoint_minutes >= 0, "training.checkpoint_minutes", "at least 0"),
            (0 < self.evaluation.threshold < 1, "evaluation.threshold", "between 0 and 1"),
            (self.evaluation.bootstrap >= 1, "evaluation.bootstrap", "at least 1"),
        ]  # fmt: skip
        for valid, key, wanted in checks:
            if not valid:
                raise KerasOrthoError(f'"{key}" must be {wanted}.')
        self._refuse_keys_of_the_other_task()

    def _require_monitor(self) -> None:
        names, monitor = tuple(METRICS[self.task]), self.training.monitor
        known = [*(f"val_{name}" for name in names), *names]
        if monitor not in known:
            raise KerasOrthoError(
                f'"training.monitor": there is no "{cut(monitor)}" in {self.task}.{did_you_mean(monitor, known)} '
                f"There are: {', '.join(known)}."
            )

    def _refuse_keys_of_the_other_task(self) -> None:
        for task, keys in _TASK_KEYS.items():
            for f in dataclasses.fields(TrainingConfig):
                if f.name in keys and task != self.task and getattr(self.training, f.name) not in (f.default, {}):
                    raise KerasOrthoError(f'"training.{f.name}" is for {task} alone, not for {self.task}. Remove it.')

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.training.phases)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `config_from_dict` reads back to an equal Config."""
        return plain(dataclasses.asdict(self))


def load_config(path: str | os.PathLike[str], settings: Iterable[str] = ()) -> Config:
    """Read ``path`` (YAML), apply ``settings`` such as ``training.batch_size=8`` and return the Config.

    Relative paths inside the file are relative to the folder the command runs in.
    Raises KerasOrthoError naming the file or the setting, the key and the fix.
    """
    file = Path(path)
    require_configuration_file(file)
    values = read_yaml(file)
    if not isinstance(values, Mapping):
        raise KerasOrthoError(f"{file}: The configuration must be a mapping of keys to values, not {echo(values)}.")
    return config_with(values, settings, source=f"{file}: ")


def config_with(values: Mapping[str, Any], settings: Iterable[str], *, source: str = "") -> Config:
    """Return the Config of ``values`` with ``settings`` laid over; errors name the setting, or else the ``source``."""
    changes = check_settings(settings)
    try:
        return config_from_dict(apply_settings(values, changes))
    except KerasOrthoError as error:
        message = str(error)
        setting = None if message.startswith("--set ") else _culprit(values, changes, message)
        blamed = source if setting is None else f"--set {setting.partition('=')[0].strip()}: "
        raise KerasOrthoError(f"{blamed}{message}") from None


def _culprit(values: Mapping[str, Any], settings: Sequence[str], message: str) -> str | None:
    """Return the setting without which the configuration is right, or wrong in another way; None if there is none."""
    for index, setting in enumerate(settings):
        try:
            config_from_dict(apply_settings(values, [*settings[:index], *settings[index + 1 :]]))
        except KerasOrthoError as error:
            if str(error) == message or str(error).startswith("Missing key"):
                continue
        return setting
    return None


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """Return the Config that plain data describes. Raises KerasOrthoError for any key or value out of place."""
    try:
        return build(Config, values)
    except WrongKindError as error:
        key = next((key for key in _EXAMPLES if f"{error.where}.".startswith((f"{key}.", f"{key}["))), None)
        raise KerasOrthoError(f"{error} For example: {_EXAMPLES[key]}." if key else str(error)) from None


def apply_settings(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return ``values`` with each ``a.b=value`` (value in YAML) laid over; ``a.0.b`` reaches into a list."""
    result: dict[str, Any] = plain(values)
    for setting in check_settings(settings):
        key, value = parse_setting(setting)
        set_key(result, _alias(key, result), value)
    return result


def _alias(key: str, values: Mapping[str, Any]) -> str:
    """``training.epochs`` and ``training.learning_rate`` mean the only phase's, where there is one phase."""
    phase_keys = {f"training.{f.name}" for f in dataclasses.fields(Phase)}
    known = phase_keys | {f"training.{f.name}" for f in dataclasses.fields(TrainingConfig)}
    if key.startswith("training.") and key.count(".") == 1 and key not in known:
        raise KerasOrthoError(f'Unknown key "{key}".{did_you_mean(key, known)}')
    training = values.get("training")
    phases = training.get("phases") if isinstance(training, Mapping) else None
    if key not in phase_keys or not isinstance(phases, list):
        return key
    if len(phases) > 1:
        name = key.rpartition(".")[2]
        raise KerasOrthoError(
            f"This recipe has {len(phases)} phases: say which one, such as training.phases.0.{name}=VALUE."
        )
    return key.replace("training.", "training.phases.0.", 1)
