"""Data sets that are called by a name: every module here is one, and a new one is a module.

A module NAME has the function `open_NAME(split, size, channels)`, whose split is "train", "test" or "all"; a size
(height, width) or number of channels that is None is the data's own.
"""

from importlib import import_module
from pkgutil import iter_modules

from var.data.base import ImageData

NAMED = {module.name: f"{__name__}.{module.name}" for module in iter_modules(__path__)}
"""Where each data set lives; only the one that is used is imported."""


def open_named(name: str, split: str, size: tuple[int, int] | None, channels: int | None) -> ImageData:
    """The data set `name`, one of `NAMED`; its "val" is its "test"."""
    return getattr(import_module(NAMED[name]), f"open_{name}")("test" if split == "val" else split, size, channels)
