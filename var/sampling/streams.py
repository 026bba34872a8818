"""The random stream of each image: from seeds, from generators, or from fresh entropy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from var.errors import UserError
from var.names import received
from var.sampling.seeds import is_seed, passed_seeds
from var.typed import length

GivenSeeds = Sequence[int | np.integer] | np.ndarray | Tensor | None
"""Seeds of a call: whole numbers in [0, 2^63), in a list, a tuple, a range, an array of numpy's or a tensor."""
Generators = torch.Generator | Sequence[torch.Generator] | None


def random_streams(
    count: int, generator: Generators, seeds: GivenSeeds, device: torch.device | str = "cpu"
) -> tuple[list[torch.Generator], list[int]]:
    """A generator for every image and their seeds, so that an image does not depend on the ones made beside it.

    A list holds each image's generator; one generator for many images seeds theirs; without either, `seeds` or fresh
    entropy do. An image's own generator is used as it is while it is new, so that it stands for its seed; one that was
    used before gives its next number as the seed. The global generators are left alone. Equal seeds give equal images,
    as whoever writes them twice wants; equal generators are a mistake. Raises `UserError` for these, where the number
    of generators is wrong, and where both are given.
    """
    if generator is not None and seeds is not None:
        raise UserError("randomness comes from one source, got both generator and seeds; drop one of them")
    if isinstance(generator, Sequence) and not isinstance(generator, str):
        own = _checked(generator, count)
    elif not isinstance(generator, torch.Generator | None):
        raise UserError(f"generator must be a torch.Generator or a list of them, got {received(generator)}; pass one")
    else:
        own = [generator] if generator is not None and count == 1 else []
    if own:
        streams = [_own_stream(each) for each in own]
        return [stream for stream, _ in streams], [seed for _, seed in streams]
    if seeds is None:
        source = torch.Generator() if generator is None else generator
        assert isinstance(source, torch.Generator)
        if generator is None:
            source.seed()
        seeds = torch.randint(2**62, (count,), generator=source, device=source.device).tolist()
    device = generator.device if isinstance(generator, torch.Generator) else torch.device(device)
    seeds = passed_seeds(seeds, count)
    return [torch.Generator(device).manual_seed(seed) for seed in seeds], seeds


def _checked(generators: Sequence[Any], count: int) -> list[torch.Generator]:
    """One generator for each of `count` images, no two of which would give the same numbers."""
    if (found := length(generators)) != count:
        raise UserError(
            f"expected one generator or one for each of {count} images, got {received(found)}; pass as many"
        )
    odd = [each for each in generators if not isinstance(each, torch.Generator)]
    if odd:
        raise UserError(
            f"generator must be a torch.Generator or a list of them, got {received(odd[0])} in it; pass one each"
        )
    first: dict[tuple[torch.device, bytes], int] = {}
    for index, each in enumerate(generators):
        earlier = first.setdefault((each.device, each.get_state().numpy().tobytes()), index)
        if earlier != index:
            raise UserError(
                f"images need different generators, got the same one or an equal one as number {earlier} and {index}; "
                "pass a single generator, which seeds all images, or seeds"
            )
    return list(generators)


def _own_stream(generator: torch.Generator) -> tuple[torch.Generator, int]:
    """The stream that an image's own generator gives, and the seed that repeats it."""
    seed = generator.initial_seed()
    new = torch.Generator(generator.device).manual_seed(seed)
    if is_seed(seed) and torch.equal(generator.get_state(), new.get_state()):
        return generator, seed
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    return new.manual_seed(seed), seed
