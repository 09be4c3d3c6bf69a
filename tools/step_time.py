"""How long a training step of a recipe's last phase takes, with TensorFlow's oneDNN kernels and without them.

    python tools/step_time.py configs/limb-mobilenetv2.yaml configs/fracture-unet.yaml --repeats 3

Each measurement is a process of its own, the two kinds by turns, so that a busy machine harms both alike. Weights and
images are random: they do not change the time. Prints a Markdown table; ratios are of measurements side by side.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from kerasortho.config import Config, load_config
from kerasortho.machine import ONEDNN

STEPS = 6


def main() -> None:
    """Measure every recipe and print the table; with ``--step``, be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(step_time(load_config(arguments.configs[0])))
        return
    print("| recipe | without, ms an image | with oneDNN | ratio |\n|---|---|---|---|")
    for path in arguments.configs:
        pairs = [(measured(path, onednn="0"), measured(path, onednn="1")) for _ in range(arguments.repeats)]
        without, used = zip(*pairs, strict=True)
        print(f"| {path} | {spread(without)} | {spread(used)} | {spread([a / b for a, b in pairs], 2)} |", flush=True)


def measured(path: str, *, onednn: str) -> float:
    """Return the time of `step_time` in a new process."""
    command = [sys.executable, __file__, path, "--step"]
    environment = {**os.environ, ONEDNN: onednn, "TF_CPP_MIN_LOG_LEVEL": "3"}
    answer = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return float(answer.stdout.split()[-1])


def step_time(config: Config) -> float:
    """Return the median milliseconds an image of a step, once compiled."""
    import keras
    import tensorflow as tf

    from kerasortho.models import build_model, unfreeze

    segmentation, size, batch = config.task == "segmentation", config.preprocessing.size, config.training.batch_size
    options = {**config.model.options, "weights": None, "learn_batchnorm_from": None}
    model = build_model(config.model.name, input_size=size, classes=1 if segmentation else 2, **options)
    unfreeze(model, config.training.phases[-1].unfreeze_from)
    model.compile(
        keras.optimizers.AdamW(1e-4, global_clipnorm=1.0),
        "binary_crossentropy" if segmentation else "categorical_crossentropy",
        jit_compile=config.training.jit,
    )
    model.optimizer.build(model.trainable_variables)
    image = tf.random.uniform((batch, *size, 1))
    target = tf.round(image) if segmentation else tf.one_hot(tf.range(batch) % 2, 2)
    step = tf.function(lambda: model.train_step((image, target))["loss"], autograph=False)
    times = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        step().numpy()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:]) / batch  # the first one compiled


def spread(values: list[float], digits: int = 0) -> str:
    """Return the median of some values, with the smallest and the largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


if __name__ == "__main__":
    main()
