"""How much memory the training pipeline takes with few images and with many: it should be the same.

    python tools/pipeline_memory.py --images 1000 50000 --places none disk

For each number and place, in a process of its own: the manifest is read, the images are prepared, and 300 training
batches of 16 go by, through the same classes as in a training. Prints a Markdown table of the anonymous resident memory
(RssAnon, which files mapped into memory are no part of): with TensorFlow loaded and nothing else; prepared; after 50
batches; after all; and the most, sampled every 10 ms from the beginning. The images are 64 x 64 PNGs of noise: eight
files, to which all the names are hard links, in a temporary folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

SIZE, FILES = (64, 64), 8
BATCH, BATCHES, FIRST = 16, 300, 50


def main() -> None:
    """Measure every combination and print the table; with ``--measure``, be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 50_000])
    parser.add_argument("--places", nargs="+", choices=["none", "disk", "memory"], default=["none", "disk"])
    parser.add_argument("--folder", help="where the temporary folder is made: 600 MB for 50,000 images on disk")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(*measure(Path(arguments.folder), arguments.places[0]))
        return
    columns = ("images", "place", "TensorFlow", "prepared", f"{FIRST} batches", f"{BATCHES} batches", "most")
    print(f"Anonymous resident memory, MB\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for count in arguments.images:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_images(Path(folder), count)
            for place in arguments.places:
                command = [sys.executable, __file__, "--measure", "--places", place, "--folder", folder]
                environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
                answer = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
                print(f"| {count} | {place} | {' | '.join(answer.stdout.split())} |", flush=True)


def write_images(folder: Path, count: int) -> None:
    """Write the manifest of ``count`` images to train on and one to validate on."""
    random = np.random.default_rng(0)
    for i in range(FILES):
        assert cv2.imwrite(str(folder / f"file{i}.png"), random.integers(0, 256, SIZE, np.uint8))
    rows = ["image,label,group,split"]
    for i in range(count + 1):
        os.link(folder / f"file{i % FILES}.png", folder / f"{i:06d}.png")
        rows.append(f"{i:06d}.png,{'ab'[i % 2]},{i},{'train' if i < count else 'val'}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def measure(folder: Path, place: str) -> list[int]:
    """Return what the columns of the table say, in MB."""
    from kerasortho.config import config_from_dict
    from kerasortho.data.pipeline import TrainingBatches, epoch_order
    from kerasortho.data.samples import load_samples
    from kerasortho.data.store import SampleStore

    config = config_from_dict(
        {
            "name": "memory",
            "task": "classification",
            "data": {"manifest": str(folder / "manifest.csv")},
            "model": {"name": "small_resnet"},
            "preprocessing": {"size": list(SIZE)},
            "augmentation": {"rotation": 15.0, "horizontal_flip": True, "noise": 0.02},
            "training": {"batch_size": BATCH, "phases": [{"epochs": 1}]},
        }
    )
    with sampled() as seen:
        found = [anonymous()]
        samples = load_samples(config.data, config.task).split("train")
        store = SampleStore(samples, config.preprocessing, place=place, folder=folder / "cache", classes=2)
        found.append(anonymous())
        batches, done, epoch = TrainingBatches(store, config), 0, 0
        while done < BATCHES:
            for _ in batches.of(epoch, epoch_order(store, config, epoch)).take(BATCHES - done):
                done += 1
                if done in (FIRST, BATCHES):
                    found.append(anonymous())
            epoch += 1
    return [round(value / 2**20) for value in (*found, max(seen))]


@contextmanager
def sampled() -> Iterator[list[int]]:
    """Fill a list with the memory of this process, in another thread."""
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            seen.append(anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def anonymous() -> int:
    """Return the anonymous resident memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024


if __name__ == "__main__":
    main()
