"""The random stream of each image: from seeds, from generators, or from fresh entropy."""

from collections.abc import Sequence

import torch

from var.errors import UserError

Generators = torch.Generator | Sequence[torch.Generator] | None


def random_streams(
    count: int, generator: Generators, seeds: Sequence[int] | None, device: torch.device | str = "cpu"
) -> tuple[list[torch.Generator], list[int]]:
    """A generator for every image and their seeds, so that an image does not depend on the ones made beside it.

    A list holds each image's generator; one generator for many images seeds theirs; without either, `seeds` or fresh
    entropy do. An image's own generator is used as it is while it is new, so that it stands for its seed; one that was
    used before gives its next number as the seed. The global generators are left alone. Raises `UserError` where the
    number of generators is wrong or both are given.
    """
    if generator is not None and seeds is not None:
        raise UserError("randomness comes from one source, got both generator and seeds; drop one of them")
    if isinstance(generator, Sequence):
        if len(generator) != count:
            raise UserError(f"expected one generator or one for each of {count} images, got {len(generator)}")
        own = list(generator)
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
    bad = [seed for seed in seeds if not 0 <= seed < 2**63]
    if bad:
        raise UserError(f"seeds must lie in [0, 2^63), got {bad[0]}; correct it")
    return [torch.Generator(device).manual_seed(seed) for seed in seeds], list(seeds)


def _own_stream(generator: torch.Generator) -> tuple[torch.Generator, int]:
    """The stream that an image's own generator gives, and the seed that repeats it."""
    seed = generator.initial_seed()
    new = torch.Generator(generator.device).manual_seed(seed)
    if 0 <= seed < 2**63 and torch.equal(generator.get_state(), new.get_state()):
        return generator, seed
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    return new.manual_seed(seed), seed
