"""One of several by its logit and a uniform number."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def chosen_by(logits: Float[Tensor, "*places n"], uniform: Float[Tensor, "*places"]) -> Int64[Tensor, "*places"]:
    """An index at every place, drawn by softmax of the logits: the cumulative distribution inverted at `uniform`.

    `uniform` is in [0, 1), one number a place, where a Gumbel race takes one for each logit: with 128 of them that is
    6 times as fast. Nothing waits for the host. A logit of -inf is never chosen.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
    total = cumulative[..., -1:]
    # Below the total even after rounding: else the last one could be chosen although it was ruled out.
    point = torch.minimum(uniform.to(total.device)[..., None] * total, total.nextafter(torch.zeros_like(total)))
    winner = torch.searchsorted(cumulative, point, right=True)
    # NaN logits, which generation refuses at its end, must not become an index out of bounds on a GPU.
    return winner.clamp_max_(cumulative.shape[-1] - 1)[..., 0]
