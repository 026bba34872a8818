"""The checker that enforces annotations while the tests run: beartype, with three habits of Python's own typing.

An int may stand where a float is annotated (PEP 484), `Self` may stand in a method, and a protocol needs no decorator
to be looked at. Settings check what they are made of themselves, with words for users that tests look at.
"""

import re
import types
import typing
from contextlib import contextmanager

from beartype import BeartypeConf, beartype
from jaxtyping import config

SETTINGS = re.compile(r"([A-Z]\w*)?(Config|Settings|Run|Losses|Policy)\.__init__")
"""The constructors of classes that call `var.checks.fields`, which tests/test_settings_fields.py looks at."""

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextmanager
def unchecked():
    """Let a door be called with other types than it is annotated with, as users do, inside the block."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def checked(thing):
    """`thing`, a function or a class, which checks what it is called with."""
    if SETTINGS.fullmatch(getattr(thing, "__qualname__", "")):
        return thing
    hints = getattr(thing, "__annotations__", {})
    for protocol in _parts(hints.values(), lambda hint: getattr(hint, "_is_protocol", False)):
        typing.runtime_checkable(protocol)
    if isinstance(thing, types.FunctionType) and any(_parts(hints.values(), lambda hint: hint is typing.Self)):
        # Beartype knows `Self` only where it decorates the whole class.
        for name, hint in list(hints.items()):
            if any(_parts([hint], lambda part: part is typing.Self)):
                del hints[name]
    return _check(thing)


def _parts(hints, wanted):
    """All parts of `hints`, nested as deep as they may be, that are `wanted`."""
    for hint in hints:
        if wanted(hint):
            yield hint
        yield from _parts((part for part in typing.get_args(hint) if not isinstance(part, list)), wanted)
