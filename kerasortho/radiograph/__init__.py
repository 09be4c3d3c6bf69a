"""One radiograph: reading it, preparing it for a model, drawing on it. No TensorFlow in here."""

from kerasortho.radiograph.preprocessing import Preprocessing, preprocess
from kerasortho.radiograph.radiograph import Radiograph
from kerasortho.radiograph.reading import read_mask, read_radiograph

__all__ = ["Preprocessing", "Radiograph", "preprocess", "read_mask", "read_radiograph"]
