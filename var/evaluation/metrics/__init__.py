"""The second wing: from features, logits or pixels to statistics and numbers.

A module is loaded when it is first used, so that the names and meanings of scores can be read without torch.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
