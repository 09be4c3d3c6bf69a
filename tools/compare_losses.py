"""The paper's question, on real masks: softmax cross-entropy against binary cross-entropy against BCE + Dice.

Trains the same recipe once a loss, fold and seed (each in its own process, resumed where a run directory is), judges
every run on its test images and compares image by image: paired differences in Dice, averaged over seeds, with a 95 %
interval from resampling groups. With all folds of a manifest, every image is tested once a seed.

    python tools/compare_losses.py configs/bone-unet.yaml --runs runs/losses --folds 0 1 2 3 4 \\
        --set data.manifest=bones.csv --set preprocessing.size=[224,224] --set training.epochs=20
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np

from kerasortho.evaluation.intervals import ClusterBootstrap, mean_score

LOSSES = {
    "softmax": ["training.loss=softmax_ce", "model.options.activation=softmax"],
    "bce": ["training.loss=bce"],
    "bce_dice": ["training.loss=bce_dice"],
}
BASELINE = "bce"
RESAMPLES = 5000


def main() -> None:
    """Train, judge, compare, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--runs", type=Path, default=Path("runs/losses"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, nargs="+", help="folds of the manifest; none: its one test split")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    dice: dict[str, list[dict[str, float]]] = {name: [{} for _ in arguments.seeds] for name in LOSSES}
    groups: dict[str, str] = {}
    for fold, (number, seed), name in product(arguments.folds or [None], enumerate(arguments.seeds), LOSSES):
        run = arguments.runs / (f"{name}-{seed}" if fold is None else f"{name}-{seed}-fold{fold}")
        settings = [*arguments.settings, *LOSSES[name], f"training.seed={seed}"]
        train_and_judge(arguments.config, run, settings if fold is None else [*settings, f"data.fold={fold}"])
        for row in read_rows(run):
            groups[row["image"]] = row["group"]
            if row["dice"]:
                dice[name][number][row["image"]] = float(row["dice"])
    report(dice, groups)


def train_and_judge(config: str, run: Path, settings: list[str]) -> None:
    """Bring ``run`` to its end, in processes of their own so that no state of TensorFlow is shared."""
    command = [sys.executable, "-m", "kerasortho"]
    if not (run / "model.keras").is_file():
        if (run / "checkpoints" / "last.npz").is_file():
            fit = ["fit", "--resume", str(run)]
        else:
            changes = [part for setting in settings for part in ("--set", setting)]
            fit = ["fit", config, "--runs", str(run.parent), "--name", run.name, *changes]
        subprocess.run([*command, *fit], check=True)
    if not (run / "predictions" / "test.csv").is_file():
        subprocess.run([*command, "evaluate", str(run)], check=True)


def read_rows(run: Path) -> list[dict[str, str]]:
    """Return the table of single test images of ``run``."""
    with (run / "predictions" / "test.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(dice: dict[str, list[dict[str, float]]], groups: dict[str, str]) -> None:
    """Print mean Dice a loss, and each loss's paired difference from the baseline."""
    images = sorted(set.intersection(*(set(run) for runs in dice.values() for run in runs)))
    means = {name: np.array([[run[i] for i in images] for run in runs]).mean(axis=0) for name, runs in dice.items()}
    bootstrap = ClusterBootstrap([groups[i] for i in images], resamples=RESAMPLES)
    print(f"\n{bootstrap.images} test images of {bootstrap.groups} groups, {len(dice[BASELINE])} seeds\n")
    print(f"| loss | Dice (95 % interval) | by seed | difference from {BASELINE} (95 % interval) |\n|---|---|---|---|")
    for name, values in means.items():
        seeds = ", ".join(f"{np.mean([run[i] for i in images]):.4f}" for run in dice[name])
        difference = "" if name == BASELINE else interval(bootstrap, values - means[BASELINE], sign="+")
        print(f"| {name} | {interval(bootstrap, values)} | {seeds} | {difference} |")


def interval(bootstrap: ClusterBootstrap, values: np.ndarray, sign: str = "") -> str:
    """Return the mean of ``values`` (n,) with its interval, as text."""
    estimate = bootstrap.estimate(mean_score(values), reason="no image")
    if estimate["low"] is None:
        return f"{estimate['value']:{sign}.4f} (no interval)"
    return f"{estimate['value']:{sign}.4f} ({estimate['low']:{sign}.4f} to {estimate['high']:{sign}.4f})"


if __name__ == "__main__":
    main()
