"""What users give as numbers, lists of them and keywords of a call: Python's values, numpy's and torch's alike."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import wraps
from inspect import signature
from math import prod
from typing import Any, ParamSpec, TypeVar

from var import checks
from var.aliases import called_here
from var.errors import UserError, suggestion
from var.names import received
from var.typed import MOST_LISTED

Settings = TypeVar("Settings")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MOST_GUIDANCE = 1e30
"""What is mixed with such a scale is still a float32, if it is of any usual size."""


def plain(value: Any, name: str = "what is given") -> Any:
    """Arrays, tensors and their scalars as Python's lists and numbers; all else as it is.

    Raises `UserError` for more than `MOST_LISTED` of them, and for tensors that are not dense or have no values.
    """
    if not hasattr(value, "tolist"):
        return value
    try:
        found = prod(getattr(value, "shape", ()))
        values = value.tolist() if found <= MOST_LISTED else None
    except (ValueError, RuntimeError) as error:  # meta, sparse, quantized, nested
        kind = " ".join(f"{getattr(value, about, '')}" for about in ("layout", "dtype", "device"))
        raise UserError(f"{name} must be plain numbers, got a {type(value).__name__} ({kind}); pass a list") from error
    if found > MOST_LISTED:
        raise UserError(f"{name} must be a list of at most {MOST_LISTED}, got one of {found}; shorten it")
    return values


def whole(value: Any, name: str) -> int:
    """`value` as an int; raises `UserError` for anything but a whole number, such as 1.0, True and "1"."""
    return checks.argument(name, plain(value, name), int)


def listed_values(values: Any, name: str) -> Sequence[Any]:
    """`values` as a sequence of Python's; raises `UserError` for what has no order, no length, or is a text."""
    values = plain(values, name)
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes, bytearray)):
        raise UserError(f"{name} must be a list of whole numbers, got {received(values)}; pass for example [3, 7]")
    return values


def check_guidance(scales: float | Sequence[float]) -> None:
    """Raise `UserError` for guidance scales that float32 cannot hold."""
    for scale in scales if isinstance(scales, Sequence) else [scales]:
        if not abs(scale) <= MOST_GUIDANCE:
            raise UserError(
                f"guidance_scale must lie within {MOST_GUIDANCE:g} on both sides of 0, got {scale}; lower it"
            )


def check_switches(**switches: object) -> None:
    """Raise `UserError` for arguments that are neither True nor False: the text "no" would be a yes."""
    for name, value in switches.items():
        checks.argument(name, value, bool)


class UnknownArgumentError(UserError):
    """A call was given an argument that is not among the `known` ones."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        meant = [each for each in called_here(name) if each in known]
        remedy = f"did you mean {' or '.join(map(repr, meant))}?" if meant else suggestion(name, known)
        super().__init__(f"unknown argument {received(name)} of a call; {remedy}")
        self.name, self.known = name, known

    def __reduce__(self) -> tuple[type, tuple[str, Collection[str]]]:
        return type(self), (self.name, self.known)  # as a pool of processes hands it over


def calling(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`method`, which passes arguments on to a call; for one that is unknown there it suggests its own, too."""
    own = {name for name, each in signature(method).parameters.items() if not str(each).startswith("**")} - {"self"}

    @wraps(method)
    def called(*args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        try:
            return method(*args, **keywords)
        except UnknownArgumentError as error:
            raise UnknownArgumentError(error.name, {*error.known, *own}) from None

    return called


def updated(
    settings: Any, kind: type[Settings], keywords: Mapping[str, Any], call: Callable[..., Any] | None = None
) -> Settings:
    """`settings` (or None for the defaults) of a `kind`, a dataclass, but for the `keywords` of a call.

    `call` is the method with the other arguments of that call. Raises `UserError` for unknown keywords and settings of
    another kind.
    """
    if not isinstance(settings, kind | None):
        raise UserError(
            f"sampling must be the {kind.__name__} of this pipeline, got {received(settings)}; pass them or keywords"
        )
    known = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    for name in keywords:
        if name not in known:
            others = signature(call).parameters if call else {}
            listed = {*known, *(each for each, about in others.items() if not str(about).startswith("**"))}
            raise UnknownArgumentError(name, listed - {"self", "edit"})  # the latter is made by methods, not by users
    given: Any = kind() if settings is None else settings
    return replace(given, **{name: plain(value, name) for name, value in keywords.items()})
