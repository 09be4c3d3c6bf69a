"""The training loop: phases of epochs of batches, saved so that it can stop anywhere and go on exactly there."""

from __future__ import annotations

import signal
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import keras
import numpy as np
import tensorflow as tf

from kerasortho.config import Config
from kerasortho.data.pipeline import TrainingBatches, batches_an_epoch, epoch_order, evaluation_batches
from kerasortho.data.store import SampleStore
from kerasortho.errors import Interrupted, KerasOrthoError
from kerasortho.models import unfreeze
from kerasortho.progress import Progress, format_duration
from kerasortho.training.logs import TensorBoardLog
from kerasortho.training.objective import compile_model
from kerasortho.training.run import RunDirectory
from kerasortho.training.state import Progression, load_state, load_weights, save_state, save_weights


class Trainer:
    """Trains ``model`` in ``run``, from ``progression`` to the end of the last phase."""

    def __init__(
        self, run: RunDirectory, model: keras.Model, train: SampleStore, val: SampleStore, progression: Progression
    ) -> None:
        self.run = run
        self.config: Config = run.config
        self.model = model
        self.train_store, self.val_store = train, val
        self.progression = progression
        self.last, self.best = run.checkpoints / "last.npz", run.checkpoints / "best.npz"
        self.steps = batches_an_epoch(train, self.config)
        self.batches = TrainingBatches(train, self.config)
        self.validation = evaluation_batches(val, self.config)
        self.log = TensorBoardLog(run.path / "logs")
        self.stop_asked = False
        self.recent: deque[float] = deque(maxlen=5)  # seconds of the last epochs of this process

    def train(self) -> None:
        """Run all phases. Raises Interrupted after SIGINT or SIGTERM, KerasOrthoError where the loss is no number."""
        at = self.progression
        resuming = self.last.is_file()
        with self._signals():
            while at.phase < len(self.config.training.phases):
                self._start_phase(resuming)
                resuming = False
                while not self._phase_ended():
                    self._epoch()
                at.phase, at.phase_epoch, at.waited = at.phase + 1, 0, 0
        load_weights(self.best, self.model)

    def _start_phase(self, resuming: bool) -> None:
        """Freeze and compile for the phase; weights come from the checkpoint, or from the best epoch so far.

        Between two phases ``last.npz`` is the end of the former until the latter is ready, and is then of the latter.
        """
        at, phases = self.progression, self.config.training.phases
        if not resuming and at.phase > 0:
            load_weights(self.best, self.model)
        phase = phases[at.phase]
        unfreeze(self.model, phase.unfreeze_from)
        compile_model(self.model, self.config, phase, self.steps, self.train_store)
        image, target = next(iter(self.validation.take(1)))
        self.model.test_on_batch(image, target)  # builds the metrics' variables
        self.model.reset_metrics()
        self.step = self._make_step()
        if resuming:
            load_state(self.last, self.model)
            if at.history:  # a kill may have come between the checkpoint and these
                self.run.write_history(at.history)
                self.log.catch_up(at.history)
        elif at.phase > 0:
            self._save()
            _say(f"phase {at.phase + 1} of {len(phases)}, from the weights of epoch {at.best_epoch}")

    def _make_step(self) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
        """Return one step of training, compiled. `train_on_batch` would start the epoch's means anew at each batch.

        Traced for each batch size by itself (there are two: the epoch's last may be smaller), so that a step is the
        same one whichever size a resumed run meets first.
        """
        model = self.model
        return tf.function(
            lambda image, target: model.train_step((image, target)),
            autograph=False,
            jit_compile=self.config.training.jit,
        )

    def _phase_ended(self) -> bool:
        at, training = self.progression, self.config.training
        patience = training.patience
        if patience is not None and at.waited >= patience:
            _say(f"no better {training.monitor} for {at.waited} epochs: this phase ends early")
            return True
        return at.phase_epoch >= training.phases[at.phase].epochs

    def _epoch(self) -> None:
        at = self.progression
        start = time.monotonic() - at.epoch_seconds
        logs = self._batches(start)
        metrics = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        self.model.reset_metrics()
        row = {"epoch": float(at.epoch + 1), "phase": float(at.phase + 1), "learning_rate": self._learning_rate()}
        row |= logs
        row |= {f"val_{name}": float(value) for name, value in metrics.items()}
        self._require_finite(row, self.config.training.monitor)
        at.epoch, at.phase_epoch, at.batch = at.epoch + 1, at.phase_epoch + 1, 0
        at.epoch_seconds, at.seconds = 0.0, at.seconds + time.monotonic() - start
        at.history.append(row)
        improved = at.improved(row[self.config.training.monitor], self.config.training.mode)
        if improved:
            save_weights(self.best, self.model)  # before last.npz: a kill in between only repeats this epoch
        self._save()
        self.run.write_history(at.history)
        self.log.write(at.epoch, row)
        self._report(row, improved, time.monotonic() - start)

    def _batches(self, start: float) -> dict[str, float]:
        """Train on the rest of the epoch's batches and return the epoch's mean loss and metrics."""
        at, size = self.progression, self.config.training.batch_size
        order = epoch_order(self.train_store, self.config, at.epoch)
        if at.batch == 0:
            self.model.reset_metrics()
        saved = time.monotonic()
        label = f"epoch {at.epoch + 1}/{self.config.epochs}"
        with Progress(self.steps, label, quiet_end=True, done=at.batch) as progress:
            for image, target in self.batches.of(at.epoch, order, begin=at.batch * size):
                logs = {name: float(value) for name, value in self.step(image, target).items()}
                at.batch += 1
                self._require_finite(logs, "loss")
                progress.advance(1, f"loss {logs['loss']:.4f}")
                if self.stop_asked or time.monotonic() - saved > 60 * self.config.training.checkpoint_minutes:
                    at.epoch_seconds, saved = time.monotonic() - start, time.monotonic()
                    self._save()
                if self.stop_asked:
                    raise Interrupted(
                        f"Stopped in epoch {at.epoch + 1} of {self.config.epochs}, after batch {at.batch} of "
                        f"{self.steps}; everything is saved. Go on with: kerasortho fit --resume {self.run.path}"
                    )
        # Not the last batch's logs: a resumed epoch may have no batch left.
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _learning_rate(self) -> float:
        rate = self.model.optimizer.learning_rate
        return float(tf.convert_to_tensor(rate))

    def _require_finite(self, values: dict[str, float], name: str) -> None:
        if not np.isfinite(values[name]):
            at, training = self.progression, self.config.training
            kept = f" The best weights so far are in {self.best}." if self.best.is_file() else ""
            raise KerasOrthoError(
                f"The {name} is no longer a finite number (epoch {at.epoch + 1}, batch {at.batch}). "
                f"Lower the learning rate (now {training.phases[at.phase].learning_rate:g}), set training.clip_norm "
                f"(now {training.clip_norm}), or train in float32 (now {training.mixed_precision}).{kept}"
            )

    def _save(self) -> None:
        save_state(self.last, self.model, self.progression)

    def _report(self, row: dict[str, float], improved: bool, seconds: float) -> None:
        at = self.progression
        shown = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k not in ("epoch", "phase", "learning_rate"))
        self.recent.append(seconds)
        left = format_duration(statistics.median(self.recent) * max(0, self.config.epochs - at.epoch))
        best = "  best" if improved else ""
        _say(f"epoch {at.epoch}/{self.config.epochs}  {shown}  {format_duration(seconds)}, {left} left{best}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn the first SIGINT or SIGTERM into a stop after the current batch; a second one stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.stop_asked:
                raise KeyboardInterrupt
            self.stop_asked = True
            _say("stopping after this batch; once more to stop at once")

        try:
            before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: whoever runs this handles its signals
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
