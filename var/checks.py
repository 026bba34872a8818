"""The checks that many settings have in common; an error names the field, its value and the remedy."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

from var.errors import UserError
from var.names import received
from var.typed import described, fit


def fields(config: Any) -> None:
    """Bring every field of a frozen dataclass to its annotated type, in its `__post_init__`; see `var.typed.fit`.

    Raises `UserError` for a value of another type, NaN, infinity, and a word that is none of a Literal's.
    """
    for name, hint in _hints(type(config)).items():
        value = getattr(config, name)
        try:
            fitted = fit(value, hint)
        except TypeError as error:
            raise UserError(f"{name} {described(value, hint)}") from error
        if fitted is not value:
            object.__setattr__(config, name, fitted)


def argument(name: str, value: Any, hint: Any) -> Any:
    """The argument `name` of a call as the type that it is annotated with, as `fields` does for settings."""
    try:
        return fit(value, hint)
    except TypeError as error:
        raise UserError(f"{name} {described(value, hint)}") from error


@cache
def _hints(config_class: type) -> dict[str, Any]:
    hints = get_type_hints(config_class)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class) if field.init}


def at_least(least: int, config: Any, *names: str) -> None:
    """Raises `UserError` for a field in `names` of `config` below `least`, or NaN."""
    _check(config, names, lambda value: value >= least, f"must be at least {least}", "raise it")


def at_most(most: float, config: Any, *names: str) -> None:
    """Raises `UserError` for a field in `names` of `config` above `most`, or with a part above it."""
    _check(config, names, lambda value: value is None or value <= most, f"must be at most {most:,}", "lower it")


def not_negative(config: Any, *names: str) -> None:
    """Raises `UserError` for a field in `names` of `config` below 0, or NaN."""
    _check(config, names, lambda value: value >= 0, "must be 0 or more", "correct it")


def positive(config: Any, *names: str) -> None:
    """Raises `UserError` for a field in `names` of `config` that is not above 0."""
    _check(config, names, lambda value: value > 0, "must be positive", "raise it")


def share(config: Any, *names: str) -> None:
    """Raises `UserError` for a field in `names` of `config` outside [0, 1]."""
    _check(config, names, lambda value: 0 <= value <= 1, "is a share and must lie in [0, 1]", "correct it")


def probability(config: Any, *names: str, below_1: bool = False) -> None:
    """Raises `UserError` for a field in `names` of `config` outside [0, 1], or [0, 1) if it must be `below_1`."""
    place = "[0, 1)" if below_1 else "[0, 1]"
    rule, remedy = f"is a probability and must lie in {place}", "lower it" if below_1 else "correct it"
    _check(config, names, lambda value: 0 <= value < 1 or (value == 1 and not below_1), rule, remedy)


def _check(config: Any, names: tuple[str, ...], fine: Callable[[Any], bool], rule: str, remedy: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not all(map(fine, value if isinstance(value, tuple) else (value,))):
            raise UserError(f"{name} {rule}, got {received(value)}; {remedy}")
