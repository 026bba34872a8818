"""From logits to tokens: temperature, top-k, top-p, sampling with a random stream for each sample."""

from collections.abc import Sequence
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
            raise UserError(
                f"temperature must be positive, got {self.temperature}; for the likeliest code use top_k=1"
            )
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


def exponential_noise(
    shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor
) -> Float[Tensor, "batch new candidates"]:
    """Independent Exponential(1) draws, those of each sample from its own generator."""
    noise = torch.empty(tuple(shape), dtype=torch.float32, device=generators[0].device)
    for sample, generator in zip(noise, generators, strict=True):
        sample.exponential_(generator=generator)
    return noise.to(like.device)


def draw(choice: Candidates, generators: Sequence[torch.Generator]) -> Int64[Tensor, "batch new"]:
    """Draw a code at every position by an exponential race: argmax p / e with e ~ Exponential(1).

    That is exactly a draw from p, needs no normalised cumulative sums and never waits for the host.
    """
    if choice.logits.shape[-1] == 1:
        winner = torch.zeros_like(choice.logits[..., 0], dtype=torch.long)
    else:
        noise = exponential_noise(choice.logits.shape, generators, choice.logits)
        winner = (choice.logits - noise.log_()).argmax(dim=-1)
    if choice.codes is None:
        return winner
    return choice.codes.gather(-1, winner[..., None])[..., 0]


def smoothed_codes(
    choice: Candidates,
    codebook: Float[Tensor, "vocabulary width"],
    ratio: float,
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "batch new width"]:
    """Gumbel-softmax mixtures of code vectors in place of single codes: smoother images, for looks and not for scores.

    `ratio` is k / (K - 1). Sharper towards the fine scales: temperature max(0.27 (1 - 0.95 ratio), 0.005), logits times
    1 + ratio (the constants of the published sampler).
    """
    temperature = max(0.27 * (1 - 0.95 * ratio), 0.005)
    gumbel = -exponential_noise(choice.logits.shape, generators, choice.logits).log_()
    weights = ((choice.logits * (1 + ratio) + gumbel) / temperature).softmax(dim=-1).to(codebook.dtype)
    if choice.codes is None:
        return weights @ codebook
    return torch.einsum("bnk,bnkw->bnw", weights, codebook[choice.codes])
