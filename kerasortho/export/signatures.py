"""What an exported model answers to: encoded images, or the preprocessed tensor. Nothing of Keras is left in it.

``serving_default`` takes ``image_bytes`` (B,) string: PNG or JPEG files of any size. It gives, for a classifier,

    probabilities  (B, C) float32, summing to 1; the classes are in the model card's order
    label          (B,) string, the most probable class
    index          (B,) int32, its place among the classes
    classes        (B, C) string, the classes' names in that order

for a segmenter, at each image's own size,

    mask_png_bytes         (B,) string: PNG, 0 and 255, foreground where the probability reaches the threshold
    probability_png_bytes  (B,) string: PNG, 8 bit, probability times 255
    foreground_fraction    (B,) float32: share of the image's pixels that are foreground
    threshold              (B,) float32: the probability from which a pixel is foreground

and for both ``error`` (B,) string: empty, or why an image has no answer (its row is then zeros, an empty label, index
-1, empty files). A request none of whose images can be read fails with INVALID_ARGUMENT.

``tensor`` takes ``image`` (B, h, w, 1) float32 in [0, 1], preprocessed, and gives ``probabilities`` (B, C), or
``probability`` (B, h, w, 1), the foreground's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from kerasortho.data.graph_preprocessing import preprocess_graph, to_native_graph
from kerasortho.export.image_graph import decode_graph
from kerasortho.radiograph.preprocessing import Preprocessing

IMAGE_BYTES = "image_bytes"
DEFAULT_SIGNATURE = "serving_default"
TENSOR_SIGNATURE = "tensor"
AT_ONCE = 2  # images of a request decoded, or drawn, side by side: of the largest, each takes some GB meanwhile
ROUNDING = 0.5 / 255  # of a probability in probability_png_bytes
Answers = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """A model with its preprocessing as plain TensorFlow functions, ready to be saved with ``signatures()``."""

    def __init__(self, model: keras.Model, spec: Preprocessing, max_pixels: int) -> None:
        super().__init__(name="kerasortho")
        self.values = [variable.value for variable in model.variables]  # tracked, so that they are saved
        self._model, self._spec, self._max_pixels = _Untracked(model), spec, max_pixels

    def signatures(self) -> dict[str, Callable[..., Answers]]:
        """Return the functions by signature name, for `tf.saved_model.save`."""
        image = tf.TensorSpec([None, *self._spec.size, 1], tf.float32, name="image")
        files = tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)
        return {
            DEFAULT_SIGNATURE: tf.function(self._answer_files, input_signature=[files], autograph=False),
            TENSOR_SIGNATURE: tf.function(self._answer_tensor, input_signature=[image], autograph=False),
        }

    def _answer_files(self, image_bytes: tf.Tensor) -> Answers:
        images, sizes, problems = self._decode(image_bytes)
        good = problems == ""
        first = tf.concat([problems, [""]], 0)[0]
        some = tf.debugging.Assert(tf.reduce_any(good) | (tf.size(problems) == 0), [first])
        with tf.control_dependencies([some]):
            probabilities = self._probabilities(tf.identity(images))
        return {**self._describe(probabilities, sizes, good), "error": problems}

    def _answer_tensor(self, image: tf.Tensor) -> Answers:
        raise NotImplementedError

    def _describe(self, probabilities: tf.Tensor, sizes: tf.Tensor, good: tf.Tensor) -> Answers:
        raise NotImplementedError

    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._model(images, training=False), tf.float32)

    def _decode(self, files: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return inputs (B, h, w, 1), the images' own sizes (B, 2) int32 and problems (B,) string."""

        def one(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            pixels, problem = decode_graph(data, self._max_pixels)
            return preprocess_graph(pixels, self._spec)[..., None], tf.shape(pixels), problem

        kinds = (
            tf.TensorSpec([*self._spec.size, 1], tf.float32),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([], tf.string),
        )
        return tf.map_fn(one, files, fn_output_signature=kinds, parallel_iterations=AT_ONCE)


class ServedClassifier(ServedModel):
    """Names the class of an image."""

    def __init__(self, model: keras.Model, spec: Preprocessing, max_pixels: int, classes: Sequence[str]) -> None:
        super().__init__(model, spec, max_pixels)
        self._classes = list(classes)

    def _answer_tensor(self, image: tf.Tensor) -> Answers:
        return {"probabilities": self._probabilities(image)}

    def _describe(self, probabilities: tf.Tensor, sizes: tf.Tensor, good: tf.Tensor) -> Answers:
        index = tf.where(good, tf.argmax(probabilities, axis=-1, output_type=tf.int32), -1)
        labels = tf.gather(tf.constant([*self._classes, ""]), tf.where(good, index, len(self._classes)))
        return {
            "probabilities": tf.where(good[:, None], probabilities, 0.0),
            "label": labels,
            "index": index,
            "classes": tf.tile(tf.constant([self._classes]), [tf.size(good), 1]),
        }


class ServedSegmenter(ServedModel):
    """Marks the foreground of an image."""

    def __init__(self, model: keras.Model, spec: Preprocessing, max_pixels: int, threshold: float) -> None:
        super().__init__(model, spec, max_pixels)
        self._threshold = threshold

    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        return super()._probabilities(images)[..., -1:]  # of a two-channel softmax, the foreground is channel 1

    def _answer_tensor(self, image: tf.Tensor) -> Answers:
        return {"probability": self._probabilities(image)}

    def _describe(self, probabilities: tf.Tensor, sizes: tf.Tensor, good: tf.Tensor) -> Answers:
        def one(item: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            probability, size, readable = item
            nothing = tf.constant(""), tf.constant(""), tf.constant(0.0)
            return tf.cond(readable, lambda: self._draw(probability[..., 0], size), lambda: nothing)

        kinds = tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.float32)
        mask, probability, fraction = tf.map_fn(
            one, (probabilities, sizes, good), fn_output_signature=kinds, parallel_iterations=AT_ONCE
        )
        return {
            "mask_png_bytes": mask,
            "probability_png_bytes": probability,
            "foreground_fraction": fraction,
            "threshold": tf.fill([tf.size(good)], self._threshold),
        }

    def _draw(self, probability: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        native = to_native_graph(probability, size, self._spec)
        mask = native >= self._threshold
        levels = tf.cast(tf.round(tf.clip_by_value(native, 0.0, 1.0) * 255.0), tf.uint8)
        fraction = tf.math.count_nonzero(mask, dtype=tf.int64) / tf.cast(tf.size(mask), tf.int64)
        return _png(tf.cast(mask, tf.uint8) * 255), _png(levels), tf.cast(fraction, tf.float32)


def _png(levels: tf.Tensor) -> tf.Tensor:
    return tf.io.encode_png(levels[..., None])


class _Untracked:
    """Hides a Keras model from the saver, which would otherwise store Keras's own functions and names beside ours."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def __call__(self, *args: object, **kwargs: object) -> tf.Tensor:
        return self.model(*args, **kwargs)
