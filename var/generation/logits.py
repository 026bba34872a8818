"""From logits to the codes that may be drawn: temperature, top-k, top-p."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn from logits."""

    temperature: float = 1.0  # divides the logits
    top_k: int = 0  # keep the k likeliest codes; 0 keeps all
    top_p: float = 0.0  # keep the smallest set of likeliest codes with this much probability; 0 or 1 keep all

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"temperature must be positive, got {self.temperature}; for the likeliest code use top_k=1")
        if self.top_k < 0:
            raise UserError(f"top_k must be a count of codes or 0 for all, got {self.top_k}; raise it")
        if not 0 <= self.top_p <= 1:
            raise UserError(f"top_p must be a probability in [0, 1], got {self.top_p}; correct it")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The codes that may still be drawn at every position."""

    logits: Float[Tensor, "batch new candidates"]  # -inf where a candidate is ruled out
    codes: Int64[Tensor, "batch new candidates"] | None  # None: candidate i is code i


def candidates(logits: Float[Tensor, "batch new vocabulary"], sampling: Sampling) -> Candidates:
    """Apply temperature, top-k, then top-p.

    After a top-k, which comes sorted, the top-p looks at those k only; the vocabulary is sorted for a top-p alone.
    """
    logits = logits / sampling.temperature if sampling.temperature != 1 else logits
    narrow_p = 0 < sampling.top_p < 1
    k = sampling.top_k or logits.shape[-1]
    if k < logits.shape[-1] or narrow_p:
        logits, codes = logits.topk(min(k, logits.shape[-1]), dim=-1)
    else:
        return Candidates(logits, None)
    if narrow_p:
        probabilities = logits.softmax(dim=-1)
        # A code stays while the codes likelier than it do not yet hold top_p: the likeliest always does.
        before = probabilities.cumsum(dim=-1) - probabilities
        logits = logits.masked_fill(before >= sampling.top_p, -torch.inf)
    return Candidates(logits, codes)
