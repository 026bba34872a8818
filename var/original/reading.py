"""From what the user gives, a path or a dict, to the tensors of one official model by their official names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from var.errors import UserError
from var.foreign.weights import check_stored, read_tensors
from var.paths import expanded

Checkpoint = Path | str | Mapping[str, Any]
"""A file of the official code (.pth or .safetensors), or what it holds."""


class Part(NamedTuple):
    """One of the two models: what it is called, its key in a training checkpoint, and a name that only it has."""

    what: str
    nested: str
    mark: str


VQVAE_PART = Part("tokenizer", "vae_local", "quantize.embedding.weight")
TRANSFORMER = Part("transformer", "var_wo_ddp", "word_embed.weight")

WRAPPERS = ("module.", "_orig_mod.")
"""What distributed training and compilation put before all names."""


def read_part(given: Checkpoint, part: Part) -> tuple[str, dict[str, Tensor]]:
    """What to call the source in messages, and the tensors of the `part` in it.

    Training checkpoints, which nest both models under "trainer", are unpacked. Raises `UserError` for what is no
    checkpoint of that part.
    """
    if isinstance(given, Mapping):
        source, values = f"the {part.what}'s state dict", given
    else:
        path = expanded(given)
        source, values = str(path), read_tensors(path, finite=False)  # masks hold infinity; what is kept is looked at
    for key in ("trainer", part.nested):
        if isinstance(values.get(key), Mapping):
            values = values[key]
            source = f"{source}[{key!r}]"
    return source, _checked(_unwrapped(values), part, source)


def _unwrapped(values: Mapping[str, Any]) -> dict[str, Any]:
    names = list(values)
    for wrapper in WRAPPERS * 2:  # compiled and then distributed, or the other way round
        if names and all(isinstance(name, str) and name.startswith(wrapper) for name in names):
            names = [name.removeprefix(wrapper) for name in names]
    return dict(zip(names, values.values(), strict=True))


def _checked(values: dict[str, Any], part: Part, source: str) -> dict[str, Tensor]:
    """The values if they can be the weights of `part`; raises `UserError` otherwise."""
    if part.mark not in values:
        other = TRANSFORMER if part is VQVAE_PART else VQVAE_PART
        if other.mark in values:
            raise UserError(
                f"{source} must be an official {part.what}, got a {other.what}; the order is tokenizer, transformer"
            )
        first = ", ".join(repr(name) for name in list(values)[:3]) or "nothing"
        raise UserError(
            f"{source} must be an official {part.what} with {part.mark}, got {first}; give its .pth or state dict"
        )
    for name, tensor in values.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{source} must hold tensors by name, got {type(tensor).__name__} under {name!r}; drop it")
        check_stored(tensor, f"{source}: {name}", "pass a contiguous copy of it")
    return values
