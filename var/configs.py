"""Configurations to and from JSON: frozen dataclasses whose fields are checked against their types."""

import dataclasses
import json
import math
import types
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from var.errors import UserError, suggestion

Config = TypeVar("Config")

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def config_to_dict(config: Any) -> dict[str, Any]:
    """The fields of a dataclass by name; tuples stay tuples, which JSON writes as lists."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.init}


def config_from_dict(
    config_class: type[Config],
    values: dict[str, Any],
    source: Path | str = "the config",
    *,
    texts: bool = False,
) -> Config:
    """The `config_class` with the fields in `values`; lists become tuples, whole numbers become floats where asked.

    Fields may be int, float, bool, str, None, Literal, tuples and unions of these. With `texts`, a value may also be
    the text that says it: "1e-4" is a number where a number belongs. Raises `UserError`, which names
    `source`, for an unknown key, a missing field without default, a value of the wrong type, and whatever the class
    itself refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.init}  # pyright: ignore[reportArgumentType]
    for name in values:
        if name not in fields:
            raise UserError(f"{source}: {config_class.__name__} has no field {name!r}; {suggestion(name, fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UserError(f"{source}: {config_class.__name__} needs the field {name!r}, which is missing; add it")
    hints = get_type_hints(config_class)
    fitted = {}
    for name, value in values.items():
        try:
            fitted[name] = _fit(value, hints[name], texts)
        except TypeError as error:
            wanted = _describe(hints[name])
            raise UserError(f"{source}: field {name!r} must be {wanted}, got {value!r}; correct it") from error
    try:
        return config_class(**fitted)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in the file `path`; raises `UserError` if there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError as error:
        raise UserError(f"{path} must exist, but it is missing; check the path, or save again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} must be a readable JSON file, but: {error}; save it again") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a JSON object, got {type(values).__name__}; save it again")
    return values


def to_json(values: dict[str, Any]) -> str:
    """Indented JSON with a newline at its end; raises `UserError` for what JSON cannot say, NaN and infinity too."""
    try:
        return json.dumps(values, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise UserError(
            f"settings must be finite numbers, strings, lists and None, but: {error}; convert them"
        ) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _fit(value: Any, hint: Any, texts: bool) -> Any:
    """`value` as the type `hint` wants it, which with `texts` a text may say; raises `TypeError` if it does not fit."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # The exact type first: in `float | int`, 1 stays 1. What a text can say is more than a text.
        for option in sorted(options, key=lambda option: (texts and option is str, type(value) is not option)):
            with suppress(TypeError):
                return _fit(value, option, texts)
    elif origin is Literal:
        for option in options:
            # 1 == True, so the type must agree too.
            if (value == option and type(value) is type(option)) or (texts and value == str(option)):
                return option
    elif origin is tuple:
        return _fit_tuple(_read_list(value) if texts else value, options, texts)
    elif texts and (read := _read(value, hint)) is not value:
        return _fit(read, hint, texts=False)
    elif hint is float and type(value) is int:
        return float(value)
    elif value is None and hint in (None, types.NoneType):
        return None
    elif (hint in (int, float, bool, str) or dataclasses.is_dataclass(hint)) and type(value) is hint:
        return value
    raise TypeError


def _fit_tuple(value: Any, hints: tuple[Any, ...], texts: bool) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise TypeError
    return tuple(_fit(part, hint, texts) for part, hint in zip(value, hints, strict=True))


def _read(value: Any, hint: Any) -> Any:
    """What a text or a number says where a `hint` belongs; `value` itself if that is nothing of the kind."""
    if isinstance(value, str) and hint in (bool, types.NoneType):
        return _WORDS.get(value.lower(), value)
    if hint not in (int, float) or isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    with suppress(ValueError):  # "1e5" is a whole number too, but not for int()
        if hint is int and not isinstance(value, float):
            return int(value)
    with suppress(ValueError):
        number = float(value)
        if not math.isfinite(number):
            raise TypeError
        return int(number) if hint is int and number.is_integer() else number
    return value


def _read_list(value: Any) -> Any:
    """The list that a text such as "1,2", "(1, 2)" or "[1, 2]" says."""
    if isinstance(value, str):
        text = value.replace("(", "[").replace(")", "]").replace(",]", "]")
        with suppress(ValueError):
            return json.loads(text if text.startswith("[") else f"[{text}]")
    return value


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(option) for option in get_args(hint))
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint).replace("typing.", "")
