"""Nested mappings, as settings and JSON are: their leaves under dotted names, and where two of them differ."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a JSON file gives them back: tuples are lists."""
    return json.loads(json.dumps(dict(values)))


def leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves, each under its dotted name: `training.steps`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def differences(
    first: Mapping[Any, Any], second: Mapping[Any, Any], *, absent: Any = None, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value in the first, value in the second) wherever two mappings differ, in their order.

    What only one of them has is `absent` in the other.
    """
    for name in {**first, **second}:
        a, b = first.get(name, absent), second.get(name, absent)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, absent=absent, prefix=f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name}", a, b
