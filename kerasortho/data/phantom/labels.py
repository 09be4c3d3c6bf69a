"""The numbers of the bones in label images: every bone of the limbs and girdles, and what else of the trunk is seen."""

from __future__ import annotations

_FINGERS = range(1, 6)
_ARM = (
    "clavicle", "scapula", "humerus", "radius", "ulna",
    "scaphoid", "lunate", "triquetrum", "pisiform", "trapezium", "trapezoid", "capitate", "hamate",
    "sesamoid of the hand",
    *(f"metacarpal {n}" for n in _FINGERS),
    *(f"{part} phalanx of finger {n}" for n in _FINGERS for part in ("proximal", "middle", "distal")
      if (part, n) != ("middle", 1)),
)  # fmt: skip
_LEG = (
    "hip bone", "sacrum", "femur", "patella", "tibia", "fibula",
    "calcaneus", "talus", "navicular", "cuboid", "medial cuneiform", "middle cuneiform", "lateral cuneiform",
    "sesamoids of the foot",
    *(f"metatarsal {n}" for n in _FINGERS),
    *(f"{part} phalanx of toe {n}" for n in _FINGERS for part in ("proximal", "middle", "distal")
      if (part, n) != ("middle", 1)),
)  # fmt: skip
TRUNK = ("rib", "vertebra", "skull")
"""Bones beside a limb: they have labels, and are no part of the bone mask."""

LABELS = {name: number for number, name in enumerate((*_ARM, *_LEG, *TRUNK), 1)}
"""Bone name -> value in a label image, 1 to 69; 0 is no bone of the patient. A name stands for either side."""
