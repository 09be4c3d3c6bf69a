"""The paper's question, on real masks: softmax cross-entropy against binary cross-entropy against BCE + Dice.

Trains the same recipe once a loss, fold and seed (each in its own process, resumed where a run directory is), judges
every run on its test images and compares image by image: paired differences in Dice, averaged over seeds, with a 95 %
interval from resampling groups. With all folds of a manifest, every image is tested once a seed.

    python tools/compare_losses.py configs/bone-unet.yaml --runs runs/losses --folds 0 1 2 3 4 \\
        --set data.manifest=bones.csv --set preprocessing.size=[224,224] --set training.epochs=20
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from itertools import product
from pathlib import Path

from compare_runs import gather, report

LOSSES = {
    "bce": ["training.loss=bce"],  # the baseline
    "softmax": ["training.loss=softmax_ce", "model.options.activation=softmax"],
    "bce_dice": ["training.loss=bce_dice"],
}


def main() -> None:
    """Train, judge, compare, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--runs", type=Path, default=Path("runs/losses"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, nargs="+", help="folds of the manifest; none: its one test split")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    runs: dict[str, list[Path]] = {name: [] for name in LOSSES}
    groups: dict[str, str] = {}
    for fold, seed, name in product(arguments.folds or [None], arguments.seeds, LOSSES):
        run = arguments.runs / (f"{name}-{seed}" if fold is None else f"{name}-{seed}-fold{fold}")
        settings = [*arguments.settings, *LOSSES[name], f"training.seed={seed}"]
        train_and_judge(arguments.config, run, settings if fold is None else [*settings, f"data.fold={fold}"])
        runs[name].append(run)
    report({name: gather(paths, groups) for name, paths in runs.items()}, groups)


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


if __name__ == "__main__":
    main()
