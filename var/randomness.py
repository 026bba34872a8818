"""Random streams named by a key, so that nothing depends on what was drawn before."""

import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import SupportsIndex

import torch


def keyed_seed(*key: SupportsIndex | str) -> int:
    """A 63-bit seed that depends on every part of `key`; the same on every machine and in every version."""
    # An integer of numpy or torch is written differently from Python's, and must not name another stream.
    plain = tuple(part if isinstance(part, str) else operator.index(part) for part in key)
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed_generator(*key: SupportsIndex | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for the stream named by `key`, for example `("augment", seed, epoch, index)`."""
    return torch.Generator(device=device).manual_seed(keyed_seed(*key))


@contextmanager
def keyed_global_stream(*key: SupportsIndex | str, device: torch.device | str = "cpu") -> Iterator[None]:
    """Key the global generators of the CPU and of `device` inside the block and restore them after it.

    For library layers that take no generator (dropout, drop path): inside the block their draws depend on the key only.
    """
    device = torch.device(device)
    accelerators = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices=accelerators, device_type=device.type if accelerators else "cuda"):
        # For the CPU not `torch.manual_seed`: it seeds, for good, every GPU too, and where none is in use yet it writes
        # down from where it was called, which takes longer than a small layer.
        (torch if accelerators else torch.default_generator).manual_seed(keyed_seed(*key))
        yield
