"""The tf.data pipeline: an order of sample numbers becomes batches of augmented tensors.

Only numbers are shuffled, never pixels, so memory does not grow with the data. What epoch e sees depends on the seed
and on e alone, and augmentation is stateless, so that a run can be resumed in the middle of an epoch and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from kerasortho.config import Config
from kerasortho.data.augmentation import augment
from kerasortho.data.augmentation_spec import Augmentation
from kerasortho.data.border_weights import border_weight_map
from kerasortho.data.store import CONTENT, COUNTED, FOREGROUND, SampleStore
from kerasortho.errors import KerasOrthoError
from kerasortho.machine import processor_count

_BATCHES_AHEAD = 2  # made while the model works on the one before
Visits = tuple[np.ndarray, np.ndarray]  # sample numbers (N,) int64 in their order, and their seeds (N, 2) int32


def epoch_order(store: SampleStore, config: Config, epoch: int) -> np.ndarray:
    """Return the order (N,) int64 in which ``epoch`` visits the samples.

    With ``data.balance`` some are visited more than once and others not, see `balanced_visits`. With
    ``training.foreground_fraction`` f, all samples with foreground are visited once, and so many drawn without
    that the former make the share f. Raises KerasOrthoError if f is set and there is no foreground at all.
    """
    random = np.random.default_rng([config.training.seed, epoch])
    order = random.permutation(len(store))
    fraction = config.training.foreground_fraction
    if config.data.balance is not None:
        values = np.array([store.samples[i].row[config.data.balance] for i in order])
        visits = balanced_visits(values).items()
        return random.permutation(np.concatenate([np.resize(order[values == value], n) for value, n in visits]))
    if fraction is None:
        return order
    foreground = store.has_foreground[order]
    if not foreground.any():
        raise KerasOrthoError(
            "training.foreground_fraction is set, but no training image has any foreground in its mask. Check the "
            f"masks (column {config.data.mask}) with `kerasortho data check`."
        )
    wanted = round(foreground.sum() * (1 - fraction) / fraction)
    return random.permutation(np.concatenate([order[foreground], order[~foreground][:wanted]]))


def balanced_visits(values: Sequence[str] | np.ndarray) -> dict[str, int]:
    """Return how often an epoch visits the samples of each value, together as many as there are ``values``.

    In proportion to the square root of their number: between as they come, where rare values are hardly seen, and all
    alike, where they are learned by heart (Kang et al. 2020, "Decoupling representation and classifier for long-tailed
    recognition", square-root sampling).
    """
    names, counts = np.unique(values, return_counts=True)
    ends = np.floor(np.cumsum(np.sqrt(counts)) / np.sqrt(counts).sum() * len(values) + 0.5).astype(int)
    return dict(zip(names.tolist(), np.diff(ends, prepend=0).tolist(), strict=True))


def batches_an_epoch(store: SampleStore, config: Config) -> int:
    """Return how many batches an epoch of training has, the last one perhaps smaller than the others."""
    return -(-len(epoch_order(store, config, 0)) // config.training.batch_size)


class TrainingBatches:
    """The augmented batches of any epoch, from one graph.

    A graph anew for each epoch would cost a second, and half a megabyte of memory that TensorFlow does not give back.
    """

    def __init__(self, store: SampleStore, config: Config) -> None:
        self._store, self._config = store, config
        self._visits = np.zeros(0, np.int64), np.zeros((0, 2), np.int32)
        self._dataset = _batches(store, config, lambda: self._visits, config.augmentation)

    def of(self, epoch: int, order: np.ndarray, begin: int = 0) -> tf.data.Dataset:
        """Return the batches of ``epoch`` for its sample numbers ``order`` from place ``begin`` on; see `_batches`.

        To be gone through before the next epoch is asked for.
        """
        # another seed for each visit of one sample, or it would be augmented alike
        chosen = order + len(self._store) * _visits_before(order)
        seeds = np.stack([chosen, np.full(len(order), epoch * 1_000_003 + self._config.training.seed)], axis=1)
        self._visits = order[begin:].astype(np.int64), seeds[begin:].astype(np.int32)
        return self._dataset


def evaluation_batches(store: SampleStore, config: Config) -> tf.data.Dataset:
    """Return all samples in their order, not augmented; see `_batches` for shapes."""
    visits = np.arange(len(store), dtype=np.int64), np.zeros((len(store), 2), np.int32)
    batches = -(-len(store) // config.training.batch_size)  # told, or Keras warns that the data ended early
    dataset = _batches(store, config, lambda: visits, Augmentation())
    return dataset.apply(tf.data.experimental.assert_cardinality(batches))


def _batches(
    store: SampleStore, config: Config, visits: Callable[[], Visits], augmentation: Augmentation
) -> tf.data.Dataset:
    """Return batches (image, target) of the sample numbers (N,) and their seeds (N, 2) that ``visits`` tells of.

    image (B, h, w, 1) float32 in [0, 1]. Segmentation target (B, h, w, 2) float32: mask {0, 1} and weight w_n >= 0;
    classification target (B, C) float32 one-hot.
    """
    segmentation, size = config.task == "segmentation", store.spec.size
    border, sigma = config.training.border_weight, config.training.border_sigma
    labels = np.array([s.label for s in store.samples], np.int32)

    def load(index: np.int64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        try:
            image, target = store[int(index)]
        except KerasOrthoError as error:  # of a subclass, perhaps; TensorFlow passes on its name and its text alone
            raise KerasOrthoError(str(error)) from None
        if not border:
            return image, target, np.ones((1, 1), np.float32)
        return image, target, border_weight_map(target & FOREGROUND, w0=border, sigma=sigma)

    def one(index: tf.Tensor, seed: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, target, weight = tf.numpy_function(load, [index], [tf.uint16, tf.uint8, tf.float32], stateful=False)
        image = tf.cast(tf.ensure_shape(image, size), tf.float32)[..., None] / 65535.0
        target = tf.ensure_shape(target, size)[..., None]
        content = _bit(target, CONTENT)
        if not segmentation:
            return augment(image, None, seed, augmentation, content)[0], tf.one_hot(label, store.classes)
        weight = tf.ensure_shape(weight, size if border else (1, 1))[..., None] * _bit(target, COUNTED)
        return augment(image, tf.concat([_bit(target, FOREGROUND), weight], axis=-1), seed, augmentation, content)

    def samples() -> Iterator[tuple[np.int64, np.ndarray, np.int32]]:
        order, seeds = visits()
        yield from zip(order, seeds, labels[order], strict=True)

    signature = tf.TensorSpec((), tf.int64), tf.TensorSpec((2,), tf.int32), tf.TensorSpec((), tf.int32)
    dataset = tf.data.Dataset.from_generator(samples, output_signature=signature)
    dataset = dataset.map(one, num_parallel_calls=config.data.workers or processor_count(), deterministic=True)
    dataset = dataset.batch(config.training.batch_size).prefetch(_BATCHES_AHEAD)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread makes the end of every other epoch wait, for seconds
    return dataset.with_options(options)


def _visits_before(order: np.ndarray) -> np.ndarray:
    """Return (N,) how often each number of ``order`` stands before in it."""
    places = np.argsort(order, kind="stable")
    _, first, which = np.unique(order[places], return_index=True, return_inverse=True)
    before = np.empty(len(order), np.int64)
    before[places] = np.arange(len(order)) - first[which]
    return before


def _bit(target: tf.Tensor, bit: int) -> tf.Tensor:
    return tf.cast(tf.bitwise.bitwise_and(target, tf.constant(bit, tf.uint8)) > 0, tf.float32)
