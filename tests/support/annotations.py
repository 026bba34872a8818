"""Annotations, shapes included, are enforced while the tests run: by beartype, in the axes' context of jaxtyping.

jaxtyping's own hook binds every call's arguments and checks them twice, for better messages: a third of the suite's
time. Here each value is checked once, and only functions with shapes get a context of axes.

Three habits of Python's own typing hold: an int may stand where a float is annotated (PEP 484), `Self` may stand in a
method, and a protocol needs no decorator to be looked at. Settings check what they are made of themselves, with words
for users that tests look at.
"""

import ast
import dataclasses
import functools
import re
import sys
import typing
from contextlib import contextmanager, nullcontext
from importlib.machinery import PathFinder, SourceFileLoader

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError, config, jaxtyped

SETTINGS = re.compile(r"([A-Z]\w*)?(Config|Settings|Run|Losses|Policy)\.__init__")
"""The constructors of classes that call `var.checks.fields`, which tests/test_settings_fields.py looks at."""

CALLS = 200
"""Of each function that are looked at, in each process: those after them are like them, and looking takes long."""

_check = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeCheckError))


@contextmanager
def unchecked():
    """Let a door be called with other types than it is annotated with, as users do, inside the block."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def install(*packages):
    """Check all functions and dataclasses of `packages`, which are imported later, with what they are called with."""
    if sys.version_info < (3, 12):  # where a protocol's members are found anew for every value that is looked at
        typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)
    sys.meta_path.insert(0, _Finder(packages))


def checked(thing):
    """`thing`, a function or a class, which checks what it is called with."""
    if isinstance(thing, type):
        made = vars(thing).get("__init__")
        if dataclasses.is_dataclass(thing) and made and not hasattr(made, "__wrapped__"):
            thing.__init__ = checked(made)
        return thing
    if SETTINGS.fullmatch(thing.__qualname__):
        return thing
    hints = {name: _resolved(hint, thing) for name, hint in thing.__annotations__.items()}
    # Beartype knows `Self` only where it decorates the whole class.
    hints = {name: hint for name, hint in hints.items() if not any(part is typing.Self for part in _parts(hint))}
    if not hints:
        return thing
    parts = [part for hint in hints.values() for part in _parts(hint)]
    for part in parts:
        if getattr(part, "_is_protocol", False):
            typing.runtime_checkable(part)
    shaped = any(isinstance(part, type) and issubclass(part, AbstractArray) for part in parts)
    return _checking(thing, hints, jaxtyped("context") if shaped else None)


def _checking(function, hints, axes):
    """`function` with its `hints` enforced; `axes` is the context in which the names of axes keep their sizes."""
    enforced, left = None, CALLS

    @functools.wraps(function)
    def call(*arguments, **named):
        nonlocal enforced, left
        if not left or config.jaxtyping_disable:
            return function(*arguments, **named)
        left -= 1
        enforced = enforced or _enforced(function, hints)
        with axes or nullcontext():
            return enforced(*arguments, **named)

    return call


def _enforced(function, hints):
    shown, function.__annotations__ = function.__annotations__, hints
    try:
        return _check(function)
    finally:
        function.__annotations__ = shown


def _resolved(hint, function):
    """The type that `hint` names; anything where it names what is not there yet, or for type checkers only."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint

    def holder(value: hint):
        del value

    try:
        return typing.get_type_hints(holder, function.__globals__, include_extras=True)["value"]
    except Exception:
        return typing.Any


def _parts(hint):
    """`hint` and all its parts, nested as deep as they may be."""
    yield hint
    for part in typing.get_args(hint):
        if not isinstance(part, list):
            yield from _parts(part)


class _Finder:
    """Finds the modules of `packages` for `_Loader`."""

    def __init__(self, packages):
        self._packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self._packages:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and isinstance(spec.loader, SourceFileLoader):
                spec.loader = _Loader(spec.loader.name, spec.loader.path)
                return spec
        return None


class _Loader(SourceFileLoader):
    """Decorates all functions and classes with `checked`, functions first of all, classes last."""

    def exec_module(self, module):
        module.__checked__ = checked
        super().exec_module(module)

    def path_stats(self, path):
        raise OSError("what is compiled here must not be stored as that of the plain source, nor read from it")

    def source_to_code(self, data, path, *, _optimize=-1):
        tree = ast.parse(data, path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = ast.copy_location(ast.Name("__checked__", ast.Load()), node)
                node.decorator_list.insert(0 if isinstance(node, ast.ClassDef) else len(node.decorator_list), name)
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
