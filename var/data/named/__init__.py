"""Data sets that are called by a name: every module or package here is one, and a new one is a module.

A module NAME has the function `open_NAME(split, size, channels)`, whose split is "train", "test" or "all"; a size
(height, width) or number of channels that is None is the data's own. It may have a tuple `SPLITS`; if "val" is in it,
there is a third part, else "val" is "test". Further options are keyword-only parameters of the function, with a text, a
tuple of texts, or True or False as default, which also says how a text of the command line is read.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from var.data.base import ImageData
from var.errors import UserError, suggestion

NAMED = {module.name: f"{__name__}.{module.name}" for module in iter_modules(__path__)}
"""Where each data set lives; only the one that is used is imported."""

SWITCH = {"yes": True, "true": True, "no": False, "false": False}


def is_named(spec: str) -> bool:
    """Whether `spec` is one of `NAMED`, alone or with options as in "emoji?tones=yes&labels=subcategory"."""
    return spec.partition("?")[0] in NAMED


def open_named(
    spec: str, split: str, size: tuple[int, int] | None, channels: int | None, options: Mapping[str, Any]
) -> ImageData:
    """The data set that `spec` names, with the options in it (tuples are written with commas) and in `options`.

    Raises `UserError` for options that the data do not have, that are given twice, or of another type.
    """
    name, _, written = spec.partition("?")
    module = import_module(NAMED[name])
    opened = getattr(module, f"open_{name}")
    known = {
        option.name: option.default
        for option in inspect.signature(opened).parameters.values()
        if option.kind is option.KEYWORD_ONLY
    }
    values = dict(options)
    for option, value in _written(written, spec) if "?" in spec else ():
        if option in values:
            raise UserError(f"each option may be given once, got {option!r} twice for {spec!r}; leave one out")
        values[option] = value
    for option, value in values.items():
        if option not in known:
            remedy = suggestion(option, known) if known else "leave it out, there are none"
            raise UserError(f"unknown option {option!r} of the data {name!r}; {remedy}")
        values[option] = _typed(option, value, known[option])
    own_val = "val" in getattr(module, "SPLITS", ())
    return opened("test" if split == "val" and not own_val else split, size, channels, **values)


def _written(text: str, spec: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in text.split("&")]
    if not all(option and value for option, _, value in parts):
        raise UserError(f"options are written as NAME?option=value&option=value, got {spec!r}; correct it")
    return [(option, value) for option, _, value in parts]


def _typed(option: str, value: Any, default: Any) -> Any:
    """A value as its default is: a text, a tuple of texts, or True or False."""
    if isinstance(default, bool) and isinstance(value, str):
        value = SWITCH.get(value.casefold(), value)
    if isinstance(default, tuple):
        value = tuple(value.split(",")) if isinstance(value, str) else tuple(value) if _is_list(value) else value
        if isinstance(value, tuple) and all(isinstance(word, str) for word in value):
            return value
    elif type(value) is type(default):
        return value
    wanted = {bool: "yes or no (True or False)", tuple: "one or several names"}.get(type(default), "a text")
    raise UserError(f"{option} must be {wanted}, got {value!r}; correct it")


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
