"""Synthetic limb radiographs with exact bone masks, drawn from 3-D bones: the same seed gives the same files."""

from kerasortho.data.phantom.generate import PhantomSettings, generate_phantoms
from kerasortho.data.phantom.picture import Content, Picture, take_picture

__all__ = ["Content", "PhantomSettings", "Picture", "generate_phantoms", "take_picture"]
