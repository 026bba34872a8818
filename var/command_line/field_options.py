"""Options made from the fields of a settings class, which alone says what there is and what the defaults are."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import chain
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from var.command_line.frame import number, one_of, whole_number

Settings = TypeVar("Settings")
Parser = argparse._ActionsContainer
"""A parser, or a group of its options."""


def add_field_options(parser: Parser, settings_class: type) -> None:
    """An option for every field, with the "help" of its metadata, named after the field, and by "option" there too.

    A bool becomes a flag, which may be denied, and "words" are all that is allowed; an int counts from 0, or from 1 if
    it may be left out; a tuple takes as many values as it has; all else is a number. What may also be a tuple of any
    length takes one value or several, with commas or blanks between them; a bool of that kind is true where it is given
    none.
    """
    hints = get_type_hints(settings_class)
    for field in fields(settings_class):
        hint, about = hints[field.name], field.metadata
        single = _single(hint)
        own = f"--{field.name.replace('_', '-')}"
        names = (about["option"], own) if "option" in about else (own,)
        given: dict[str, Any] = {"dest": field.name, "help": about["help"], "default": argparse.SUPPRESS}
        if single is not None:
            given |= {"type": _several(_type_of(single, about)), "metavar": "VALUE"}
            given |= {"nargs": "*"} if single is bool else {"nargs": "+"}
            given["help"] += f"; one for all scales or one for each (default {_shown(field.default)})"
        elif hint is bool:
            given |= {"action": argparse.BooleanOptionalAction}
        else:
            several = get_args(hint) if get_origin(hint) is tuple else ()
            given |= {"type": _type_of(several[0] if several else hint, about)}
            if several:
                given |= {"nargs": len(several), "metavar": about["metavar"]}
            elif field.default is not None:
                given["help"] += f" (default {_shown(field.default)})"
            if "words" in about:
                given["metavar"] = f"{{{','.join(about['words'])}}}"
        parser.add_argument(*names, **given)


def _single(hint: Any) -> Any:
    """What a hint such as `float | tuple[float, ...]` is one of; None for others."""
    options = get_args(hint)
    return options[0] if len(options) == 2 and get_args(options[1]) == (options[0], ...) else None


def _several(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [parse(part) for part in text.split(",")]


def _shown(default: Any) -> Any:
    return f"{default:g}" if isinstance(default, float) else default


def _type_of(hint: Any, about: Mapping[str, Any]) -> Callable[[str], Any]:
    if "words" in about:
        return one_of(*about["words"])
    if hint is bool:
        return lambda text: one_of("true", "false")(text.lower()) == "true"
    if hint in (int, int | None):
        return whole_number(least=0 if hint is int else 1)
    return number


def settings_of(settings_class: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The settings that the options of `add_field_options` say; raises `UserError` for what the class refuses."""
    return settings_class(**given_fields(settings_class, arguments))


def given_fields(settings_class: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of which the options of `add_field_options` say something."""
    hints = get_type_hints(settings_class)
    values = {name: value for name, value in vars(arguments).items() if name in hints}
    for name, value in values.items():
        if _single(hints[name]) is not None and isinstance(value, list):
            listed = list(chain.from_iterable(value)) or [True]
            values[name] = listed[0] if len(listed) == 1 else tuple(listed)
    return values
