"""What the beam is made of and how materials weaken it."""

from __future__ import annotations

import numpy as np

from kerasortho.data.phantom.meshes import Array

ENERGIES = (30, 40, 50, 60, 80)
"""In keV: the tables' own, over the range of a diagnostic beam."""

# Mass attenuation coefficients in cm2/g at ENERGIES: J. H. Hubbell and S. M. Seltzer, "Tables of X-Ray Mass Attenuation
# Coefficients", NISTIR 5632 (doi:10.18434/T4D01F): elements, and cortical bone, soft tissue and adipose tissue of
# ICRU Report 44. Plaster is gypsum, CaSO4 + 2 H2O, mixed from its elements.
MASS_ATTENUATION = {
    "bone": (1.331, 0.6655, 0.4242, 0.3148, 0.2229),
    "soft": (0.3790, 0.2688, 0.2264, 0.2048, 0.1823),
    "fat": (0.3063, 0.2396, 0.2123, 0.1974, 0.1800),
    "plaster": (1.563, 0.7622, 0.4731, 0.3426, 0.2341),
    "titanium": (4.972, 2.214, 1.213, 0.7661, 0.4052),
    "steel": (8.176, 3.629, 1.958, 1.205, 0.5952),  # iron
}
DENSITY = {"bone": 1.92, "soft": 1.06, "fat": 0.95, "plaster": 0.75, "titanium": 4.5, "steel": 7.9}  # g/cm3

SPONGY = 0.26
"""Share of the spongy bone's volume that is mineral, in an adult."""

# Relative signal of a detector at ENERGIES: filtered tungsten beams, by tube voltage (kV); rough: limbs harden them.
_SPECTRA = {50: (0.34, 0.42, 0.24, 0.0, 0.0), 60: (0.22, 0.36, 0.28, 0.14, 0.0), 75: (0.12, 0.27, 0.27, 0.24, 0.10)}
LOWEST_KV, HIGHEST_KV = min(_SPECTRA), max(_SPECTRA)


def attenuation(material: str) -> Array:
    """Return the linear attenuation coefficients of a material at `ENERGIES`, in 1/mm."""
    return np.asarray(MASS_ATTENUATION[material]) * DENSITY[material] / 10


def spectrum(kilovolts: float) -> Array:
    """Return the shares of the signal at `ENERGIES`, which sum to 1, for a tube voltage of 50 to 75 kV."""
    shares = np.array([np.interp(kilovolts, list(_SPECTRA), column) for column in zip(*_SPECTRA.values(), strict=True)])
    return shares / shares.sum()
