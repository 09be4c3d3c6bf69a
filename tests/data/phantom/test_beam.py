"""The physics against closed formulas: attenuation, noise, and the tables' order."""

from __future__ import annotations

import numpy as np
import pytest

from kerasortho.data.phantom.beam import Exposure, measure
from kerasortho.data.phantom.materials import (
    ENERGIES,
    HIGHEST_KV,
    LOWEST_KV,
    MASS_ATTENUATION,
    attenuation,
    spectrum,
)
from kerasortho.data.phantom.tracing import Tissue

SHAPE = (160, 200)
STILL = Exposure(kilovolts=60, dose=1e9, scatter=0, blur=0.01, focus=0.001, texture=0)


def slab(**lengths: float) -> Tissue:
    """A plate of the same thickness everywhere, in mm."""
    parts = {
        name: np.full(SHAPE, lengths.get(name, 0.0)) for name in ("cortical", "spongy", "muscle", "fat", "plaster")
    }
    metal = {"steel": np.full(SHAPE, lengths["steel"])} if "steel" in lengths else {}
    none = np.zeros(SHAPE, bool)
    return Tissue(**parts, metal=metal, mask=none, labels=none.astype(np.uint8), broken=none)


@pytest.mark.parametrize(
    ("lengths", "material"),
    [({"cortical": 8.0}, "bone"), ({"fat": 40.0}, "fat"), ({"steel": 1.5}, "steel")],
)
def test_a_slab_weakens_by_the_law_of_beer_and_lambert(lengths: dict[str, float], material: str) -> None:
    path = measure(slab(**lengths), STILL, 0.5, np.random.default_rng(0))
    (length,) = lengths.values()
    expected = -np.log((spectrum(60) * np.exp(-attenuation(material) * length)).sum())
    assert path.mean() == pytest.approx(min(expected, -np.log(2e-4)), rel=1e-4)
    assert path.std() < 1e-3


def test_a_thicker_body_hardens_the_beam() -> None:
    paths = [measure(slab(cortical=length), STILL, 0.5, np.random.default_rng(0)).mean() for length in (2, 4, 8, 16)]
    rates = np.diff([0, *paths]) / np.diff([0, 2, 4, 8, 16])
    assert (np.diff(rates) < 0).all()


def test_noise_falls_with_the_dose_as_counting_does() -> None:
    spread = []
    for dose in (400, 1600):
        exposure = Exposure(dose=dose, scatter=0, blur=0.01, focus=0.001)
        paths = measure(slab(fat=50.0), exposure, 0.5, np.random.default_rng(1))
        spread.append(float((paths - paths.mean()).std()))
    assert spread[0] / spread[1] == pytest.approx(2, rel=0.05)


def test_scatter_makes_thick_bodies_look_thinner() -> None:
    rng = np.random.default_rng
    without = measure(slab(muscle=120.0), STILL, 0.5, rng(0)).mean()
    scattered = Exposure(kilovolts=60, dose=1e9, scatter=0.1, blur=0.01, focus=0.001)
    assert measure(slab(muscle=120.0), scattered, 0.5, rng(0)).mean() < without - 0.05


def test_tables_fall_with_energy_and_spectra_sum_to_one() -> None:
    for name, values in MASS_ATTENUATION.items():
        assert len(values) == len(ENERGIES)
        assert (np.diff(values) < 0).all(), name
    for kilovolts in (LOWEST_KV, 57.0, HIGHEST_KV):
        assert spectrum(kilovolts).sum() == pytest.approx(1)
    means = [spectrum(kilovolts) @ np.array(ENERGIES) for kilovolts in (50, 60, 75)]
    assert means == sorted(means)


def test_plaster_is_mixed_from_its_elements() -> None:
    calcium, sulphur, oxygen, hydrogen = 1.830, 0.9872, 0.2585, 0.3458  # cm2/g at 40 keV, NISTIR 5632
    mixed = 0.2328 * calcium + 0.1863 * sulphur + 0.5576 * oxygen + 0.0234 * hydrogen
    assert MASS_ATTENUATION["plaster"][1] == pytest.approx(mixed, rel=0.002)
