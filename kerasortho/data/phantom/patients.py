"""Who is imaged: phantom patients of all ages and builds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerasortho.data.phantom.bones import Build

LIMB_OF = {
    "hand": "upper",
    "wrist": "upper",
    "forearm": "upper",
    "elbow": "upper",
    "shoulder": "upper",
    "upper_arm": "upper",
    "foot": "lower",
    "ankle": "lower",
    "lower_leg": "lower",
    "knee": "lower",
    "hip": "lower",
    "femur": "lower",
}
"""The regions that are imaged, and the limb of each."""


@dataclass(frozen=True)
class Patient:
    """One phantom person and the limb that is imaged.

    ``size`` scales all lengths (1 is a tall man), ``fat`` is in mm, ``spongy`` the mineral share of trabecular bone.
    """

    name: str
    limb: str  # "upper" or "lower"
    region: str
    side: str  # "L" or "R"
    age: int
    size: float
    fat: float
    spongy: float
    build: Build


def draw_patient(number: int, seed: int) -> Patient:
    """Return patient ``number`` (from 0) of a seed: upper and lower limbs alternate, regions take turns."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    limb = ("upper", "lower")[number % 2]
    regions = [name for name, owner in LIMB_OF.items() if owner == limb]
    age = int(rng.choice([rng.integers(5, 17), rng.integers(18, 60), rng.integers(60, 95)], p=[0.2, 0.5, 0.3]))
    grown = float(np.clip((age - 2) / 15, 0, 1))
    size = (0.5 + 0.45 * grown) * rng.normal(1.0, 0.05)
    frail = np.clip((age - 55) / 40, 0, 1) * rng.uniform(0.3, 1.0)
    build = Build(
        cortex=float(rng.normal(1.0, 0.08) * (1 - 0.4 * frail)),
        thickness=float(rng.normal(0.97, 0.05)),
        growing=1 - grown,
    )
    return Patient(
        name=f"phantom-{number + 1:05d}",
        limb=limb,
        region=regions[(number // 2) % len(regions)],
        side="LR"[rng.integers(2)],
        age=age,
        size=float(np.clip(size, 0.4, 1.12)),
        fat=float(rng.uniform(1.5, 7)),
        spongy=float(0.24 * (1 - 0.35 * frail) * rng.normal(1, 0.1)),
        build=build,
    )
