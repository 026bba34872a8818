"""Keywords that a function does not know, refused with the nearest name that it knows."""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, get_args

from var.errors import UserError, suggestion
from var.names import shown

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def known_keywords(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, which answers a keyword that it does not know with a `UserError` instead of a `TypeError`.

    Where it takes `**others: Unpack[Typed]`, it knows the keys of the `TypedDict` only.
    """
    parameters = inspect.signature(function).parameters.values()
    named = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    for each in parameters:
        if each.kind is each.VAR_KEYWORD:
            (typed,) = get_args(each.annotation)
            named |= typed.__annotations__.keys()
    known = named - {"self", "cls"}

    @functools.wraps(function)
    def call(*args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        for name in keywords:
            if name not in named:
                where = function.__qualname__.removesuffix(".__init__")
                raise UserError(f"{where} takes no argument {shown(name)!r}; {suggestion(name, known)}")
        return function(*args, **keywords)

    return call
