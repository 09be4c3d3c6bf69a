"""What a phase optimises, with what, and what it measures: loss, optimizer and metrics of a configuration."""

from __future__ import annotations

from collections import Counter

import keras

from kerasortho.config import Config, Phase, Task
from kerasortho.data.store import SampleStore
from kerasortho.errors import KerasOrthoError
from kerasortho.training.losses import classification_loss, segmentation_loss
from kerasortho.training.metrics import DiceMetric, GlobalDice


def check_objective(config: Config) -> None:
    """Raise KerasOrthoError for a loss or an option of it that does not exist: before any image is read."""
    training = config.training
    if config.task == "segmentation":
        automatic = {"pos_weight": 1.0} if training.loss_options.get("pos_weight") == "auto" else {}
        segmentation_loss(training.loss, **{**training.loss_options, **automatic})


def check_output(config: Config, model: keras.Model) -> None:
    """Raise KerasOrthoError for a model without the two channels that ``softmax_ce`` needs: before images are read."""
    if config.training.loss == "softmax_ce" and model.output_shape[-1] != 2:
        raise KerasOrthoError(
            '"training.loss": softmax_ce needs a model with two output channels. Set model.options.activation to '
            "softmax, or choose another loss."
        )


def compile_model(model: keras.Model, config: Config, phase: Phase, steps: int, train: SampleStore) -> None:
    """Compile ``model`` for ``phase`` of ``steps`` batches an epoch; the optimizer is new and built."""
    training = config.training
    optimizer = keras.optimizers.AdamW(
        learning_rate=_schedule(phase, steps), weight_decay=training.weight_decay, global_clipnorm=training.clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.task == "segmentation":
        loss = segmentation_loss(training.loss, **_loss_options(config, train))
    else:
        weights = _class_weights(train) if training.class_weights == "auto" else None
        loss = classification_loss(label_smoothing=training.label_smoothing, class_weights=weights)
    model.compile(optimizer=optimizer, loss=loss, metrics=make_metrics(config.task), jit_compile=training.jit)
    model.optimizer.build(model.trainable_variables)


def make_metrics(task: Task) -> list[keras.metrics.Metric]:
    """Return what ``task`` measures while training, beside the loss: `kerasortho.config.METRICS` names them."""
    if task == "segmentation":
        return [DiceMetric(), GlobalDice()]
    return [keras.metrics.CategoricalAccuracy(name="accuracy")]


def _schedule(phase: Phase, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then half a cosine down to ``final_fraction`` of the peak, one value a batch."""
    warmup = round(phase.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else phase.learning_rate,
        decay_steps=max(1, phase.epochs * steps - warmup),
        alpha=phase.final_fraction,
        warmup_target=phase.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _loss_options(config: Config, train: SampleStore) -> dict[str, object]:
    """The options of the configuration, with ``pos_weight: auto`` as background / foreground of the training pixels."""
    options = dict(config.training.loss_options)
    if options.get("pos_weight") == "auto":
        share = train.foreground_share()
        options["pos_weight"] = (1 - share) / share if share > 0 else 1.0
    return options


def _class_weights(train: SampleStore) -> list[float]:
    """Inverse frequency, with mean 1 over the images."""
    counts = Counter(sample.label for sample in train.samples)
    return [len(train) / (train.classes * counts[index]) for index in range(train.classes)]
