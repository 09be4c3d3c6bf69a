"""kerasortho: train, judge and ship deep-learning models for orthopaedic radiographs.

Research use; not a medical device.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"
__all__ = ["evaluate", "fit", "predict", "read_radiograph"]

_LAZY = {
    "fit": "kerasortho.training.fit",
    "evaluate": "kerasortho.evaluation.evaluate",
    "predict": "kerasortho.evaluation.predict",
    "read_radiograph": "kerasortho.radiograph",
}


def __getattr__(name: str) -> Any:
    """Import the entry points on first use: ``import kerasortho`` must not cost TensorFlow's import."""
    if name not in _LAZY:
        raise AttributeError(f"module 'kerasortho' has no attribute {name!r}")
    import importlib

    from kerasortho.machine import prefer_onednn
    from kerasortho.quiet import quiet_libraries

    prefer_onednn()
    quiet_libraries()  # does nothing where the user has chosen a TF_CPP_MIN_LOG_LEVEL
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """List the entry points as well, for ``dir`` and completion."""
    return sorted({*globals(), *__all__} - {"Any", "annotations"})
