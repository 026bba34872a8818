"""The settings that a pipeline is saved with, which its calls take where they say nothing."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from var.configs import config_from_dict
from var.errors import UserError
from var.names import received
from var.sampling.numbers import plain


def opened(given: Any, kind: type[Any]) -> Any:
    """Settings of a `kind`, as such or as an index has them; None for none. Raises `UserError` for all else."""
    if isinstance(given, Mapping):
        return config_from_dict(kind, dict(given), "sampling")
    if not isinstance(given, kind | None):
        raise UserError(
            f"sampling must be the {kind.__name__} of this pipeline or None for no advice, got "
            f"{received(given)}; pass one"
        )
    return given


def beside(recommended: Any, said: Mapping[str, Any], *dropped: str) -> Any:
    """What is `recommended` to a call in which so much is `said`; None where nothing is.

    Fields that are `dropped`, and those "of" another one that is said to be otherwise, are at their defaults: so many
    steps are of one sampler.
    """
    if recommended is None:
        return None
    own = {each.name for each in fields(recommended)}  # of others nothing is recommended, and `updated` refuses them
    other = {name for name, value in said.items() if name in own and plain(value, name) != getattr(recommended, name)}
    gone = [each for each in fields(recommended) if each.name in dropped or each.metadata.get("of") in other]
    return replace(recommended, **{each.name: each.default for each in gone})
