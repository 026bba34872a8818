"""The tensors of networks by name: digested, and compared with those of a model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from var.errors import UserError, listed
from var.foreign.weights import Kind

LISTED = 10
"""Faults in a message."""


def add_to_digest(
    update: Callable[[bytes], None],
    tensors: Iterable[tuple[str, Tensor]],
    *,
    header: str = "{name} {shape} {dtype}",
    sampled: int | None = None,
) -> None:
    """Give the `update` of a digest the names, shapes, types and contents of `tensors`.

    `sampled` looks at about so many elements of each only. The order of the words in the `header`, and all else here,
    is part of digests that saved records, statistics and caches hold.
    """
    for name, tensor in tensors:
        elements = tensor.detach().flatten()
        if sampled is not None:
            elements = elements[:: max(1, len(elements) // sampled)]
        update(header.format(name=name, shape=tuple(tensor.shape), dtype=tensor.dtype).encode())
        # Bytes, because numpy knows no bfloat16.
        update(elements.cpu().contiguous().view(torch.uint8).numpy().tobytes())


def kinds_of(values: Mapping[str, Any]) -> dict[str, Kind]:
    """Shape and type of each of `values`, also of what is no tensor."""
    return {
        name: (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else ((), type(value).__name__)
        for name, value in values.items()
    }


def check_fit(
    wanted: Mapping[str, Kind],
    found: Mapping[str, Kind],
    rule: str,
    remedy: str,
    *,
    called: Mapping[str, str] | None = None,
    any_float: bool = True,
) -> None:
    """Raise `UserError` unless `found` has exactly the names and shapes of `wanted`, and its types.

    The message is "`rule`, but: a list of faults; `remedy`". `called` are other names by which the user knows some.
    With `any_float`, all floating types are one, and all others are one.
    """
    said = called or {}
    faults = [f"missing {said.get(name, name)}" for name in wanted if name not in found]
    faults += [f"unexpected {said.get(name, name)}" for name in found if name not in wanted]
    for name in (name for name in wanted if name in found):
        (shape, kind), (wanted_shape, wanted_kind) = found[name], wanted[name]
        if shape != wanted_shape:
            faults.append(f"{said.get(name, name)} has shape {shape} instead of {wanted_shape}")
        if _is_float(kind) != _is_float(wanted_kind) if any_float else kind != wanted_kind:
            faults.append(f"{said.get(name, name)} has kind {kind} instead of {wanted_kind}")
    if faults:
        raise UserError(f"{rule}, but: {listed(faults, LISTED)}; {remedy}")


def _is_float(kind: torch.dtype | str) -> bool:
    return kind.is_floating_point if isinstance(kind, torch.dtype) else kind.startswith("F")
