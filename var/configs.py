"""Configurations to and from JSON: frozen dataclasses whose fields are checked against their types."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from var.errors import UserError, suggestion
from var.typed import described, fit

Config = TypeVar("Config")


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

    Fields are as `var.typed.fit` says, and with `texts` may be the text of a value. Raises `UserError`, which names
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
            fitted[name] = fit(value, hints[name], texts=texts)
        except TypeError as error:
            raise UserError(f"{source}: field {name!r} {described(value, hints[name])}") from error
    try:
        return config_class(**fitted)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error


def to_json(values: dict[str, Any]) -> str:
    """Indented JSON with a newline at its end; raises `UserError` for what JSON cannot say, NaN and infinity too."""
    try:
        return json.dumps(values, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise UserError(
            f"settings must be finite numbers, strings, lists and None, but: {error}; convert them"
        ) from error
