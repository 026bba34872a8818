"""Token maps with near misses in them, as a generator makes them: what a decoder makes of these tells of generation."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var import checks
from var.errors import UserError
from var.randomness import keyed_generator


def perturbed_tokens(
    token_maps: Sequence[Int64[Tensor, "n _h _w"]],
    codes: Callable[[int], Float[Tensor, "vocabulary width"]],
    *,
    share: float,
    nearest: int = 10,
    seed: int = 0,
) -> list[Int64[Tensor, "n _h _w"]]:
    """Token maps with a `share` of the tokens of each replaced by one of the `nearest` other codes.

    The latent perturbation of RobusTok (arXiv 2503.08354), where the distance of what is decoded from them to real
    images, pFID, follows generation and that of plain reconstructions does not. `codes` gives the vectors of a scale,
    as a tokenizer's `codes` does; each of the nearest, by squared distance, is as likely. What is replaced at one share
    is so at all larger ones, and the same `seed` gives the same tokens. Raises `UserError` for a share outside [0, 1]
    and for more codes than there are others.
    """
    if not 0 <= checks.argument("share", share, float) <= 1:
        raise UserError(f"share must lie in [0, 1], got {share:g}; it is that of the tokens which are replaced")
    perturbed = []
    for scale, tokens in enumerate(token_maps):
        vectors = codes(scale).detach().double()
        if not 1 <= checks.argument("nearest", nearest, int) < len(vectors):
            raise UserError(f"nearest must lie in [1, {len(vectors) - 1}], the other codes, got {nearest}; correct it")
        distances = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf)
        others = distances.topk(nearest, largest=False).indices.to(tokens.device)
        generator = keyed_generator("perturbed tokens", seed, scale)
        replaced = torch.rand(tokens.shape, generator=generator, dtype=torch.float64) < share
        which = torch.randint(nearest, tokens.shape, generator=generator)
        found = others[tokens, which.to(tokens.device)]
        perturbed.append(torch.where(replaced.to(tokens.device), found, tokens))
    return perturbed
