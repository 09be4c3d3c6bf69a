"""Compare ways of training, image by image: paired differences in Dice with 95 % intervals from resampling groups.

Give each way a name and its judged runs, the baseline first; the runs of a way share no test image (folds), or are
seeds of the same training, averaged.

    python tools/compare_runs.py real='runs/real-*' tuned='runs/tuned-*'
"""

from __future__ import annotations

import argparse
import csv
import glob
import sys
from pathlib import Path

import numpy as np

from kerasortho.evaluation.intervals import ClusterBootstrap, mean_score

RESAMPLES = 5000

Scores = dict[str, list[float]]  # image -> its Dice in each run that tested it


def main() -> None:
    """Read the runs' tables and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="+", metavar="NAME=RUNS", help="a name and a pattern of run directories")
    parser.add_argument("--split", default="test", help="which table of predictions: test, or NAME-test of a manifest")
    given = parser.parse_args()
    dice, groups = {}, {}
    for way in given.ways:
        name, _, pattern = way.partition("=")
        runs = sorted(Path(path) for path in glob.glob(pattern))
        if not runs:
            sys.exit(f"{way}: there are no such runs. Write NAME=PATTERN, such as tuned='runs/tuned-*'.")
        dice[name] = gather(runs, groups, given.split)
    report(dice, groups)


def gather(runs: list[Path], groups: dict[str, str], split: str = "test") -> Scores:
    """Return each test image's Dice in the ``runs`` that tested it; images without foreground have none."""
    scores: Scores = {}
    for run in runs:
        for row in read_rows(run, split):
            groups[row["image"]] = row["group"]
            if row["dice"]:
                scores.setdefault(row["image"], []).append(float(row["dice"]))
    return scores


def read_rows(run: Path, split: str = "test") -> list[dict[str, str]]:
    """Return the table of single images of ``run``."""
    table = run / "predictions" / f"{split}.csv"
    if not table.is_file():
        sys.exit(f"{run} is not judged: there is no {table}. Run `kerasortho evaluate {run}` first.")
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(dice: dict[str, Scores], groups: dict[str, str]) -> None:
    """Print the mean Dice of each way, and its paired difference from the first one."""
    baseline = next(iter(dice))
    images = sorted(set.intersection(*(set(scores) for scores in dice.values())))
    means = {name: np.array([np.mean(scores[image]) for image in images]) for name, scores in dice.items()}
    bootstrap = ClusterBootstrap([groups[image] for image in images], resamples=RESAMPLES)
    tests = sorted({len(values) for scores in dice.values() for values in scores.values()})
    times = " or ".join(map(str, tests))
    print(f"\n{bootstrap.images} images of {bootstrap.groups} groups, each tested {times} times\n")
    print(f"| way | Dice (95 % interval) | difference from {baseline} (95 % interval) | better on |\n|---|---|---|---|")
    for name, values in means.items():
        difference = "" if name == baseline else interval(bootstrap, values - means[baseline], sign="+")
        better = "" if name == baseline else f"{(values > means[baseline]).sum()} of {len(images)}"
        print(f"| {name} | {interval(bootstrap, values)} | {difference} | {better} |")


def interval(bootstrap: ClusterBootstrap, values: np.ndarray, sign: str = "") -> str:
    """Return the mean of ``values`` (n,) with its interval, as text."""
    estimate = bootstrap.estimate(mean_score(values), reason="no image")
    if estimate["low"] is None:
        return f"{estimate['value']:{sign}.4f} (no interval)"
    return f"{estimate['value']:{sign}.4f} ({estimate['low']:{sign}.4f} to {estimate['high']:{sign}.4f})"


if __name__ == "__main__":
    main()
