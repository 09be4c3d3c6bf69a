"""The networks, by name: `build_model`; what of them is trained: `unfreeze`; on disk: `save_model`."""

from kerasortho.models.fine_tuning import ParameterCount, count_parameters, get_base, unfreeze
from kerasortho.models.registry import MODELS, ModelEntry, build_model, get_model_entry
from kerasortho.models.saving import save_model

__all__ = [
    "MODELS",
    "ModelEntry",
    "ParameterCount",
    "build_model",
    "count_parameters",
    "get_base",
    "get_model_entry",
    "save_model",
    "unfreeze",
]
