"""Configurations to and from JSON: frozen dataclasses whose fields are checked against their types."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from var.errors import UserError, suggestion
from var.names import received
from var.typed import described, fit

Config = TypeVar("Config")


_ADDED = "added"


def added(default: Any, **metadata: Any) -> Any:
    """A field that a config got after configs were saved: at its default it is not told, so that all stays as it was.

    Whatever names a model, a run or a stage by its config takes that from `config_to_dict` or `config_to_text`.
    """
    return dataclasses.field(default=default, metadata={_ADDED: True, **metadata})


def _told(config: Any) -> Iterator[dataclasses.Field[Any]]:
    """The fields of a config but for those that were added and are at their defaults."""
    for field in dataclasses.fields(config):
        if not (field.metadata.get(_ADDED) and getattr(config, field.name) == field.default):
            yield field


def config_to_dict(config: Any) -> dict[str, Any]:
    """The fields that are told of a dataclass by name, of those within it too; tuples, which JSON lists, stay tuples.

    See `added` for those that are not.
    """
    values = {field.name: getattr(config, field.name) for field in _told(config) if field.init}
    return {name: config_to_dict(each) if dataclasses.is_dataclass(each) else each for name, each in values.items()}


def config_to_text(config: Any) -> str:
    """The `repr` of a dataclass without what is not told, see `added`, for digests; of anything else, its `repr`."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return repr(config)
    told = (f"{field.name}={config_to_text(getattr(config, field.name))}" for field in _told(config) if field.repr)
    return f"{type(config).__qualname__}({', '.join(told)})"


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
            raise UserError(
                f"{source}: {config_class.__name__} has no field {received(name)}; {suggestion(name, fields)}"
            )
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
