"""Arguments that a function does not know, or that are of another type than it takes, refused in one line."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from var.errors import UserError, suggestion
from var.typed import described, fit

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_OWN = {"self", "cls"}


def known_keywords(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, which answers wrong arguments with a `UserError`: the nearest name, or the type that it takes.

    Where it takes `**others: Unpack[Typed]`, it knows the keys of the `TypedDict` only.
    """
    parameters = inspect.signature(function).parameters
    positional = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]

    @functools.cache
    def hints() -> dict[str, Any]:  # not before the first call: annotations may name what is defined below
        try:
            found = get_type_hints(function)
        except NameError:  # a class inside a function
            found = {}
        known = {name: found.get(name, Any) for name in parameters}
        for name, each in parameters.items():
            if str(each).startswith("**"):
                known |= get_type_hints(get_args(known.pop(name))[0])
        return known

    @functools.wraps(function)
    def call(*args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        known = hints()
        for name, value in (dict(zip(positional, args, strict=False)) | keywords).items():
            if name not in known:
                where = type(args[0]).__name__ if function.__name__ == "__init__" else function.__qualname__
                raise UserError(f"{where} takes no argument {name!r}; {suggestion(name, known.keys() - _OWN)}")
            try:
                fit(value, known[name])
            except TypeError as error:
                raise UserError(f"{name} {described(value, known[name])}") from error
        return function(*args, **keywords)

    return call
