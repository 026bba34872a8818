"""From logits to the codes that may be drawn: temperature, top-k, top-p, min-p."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.generation.sampling_settings import AtScale


@dataclass(frozen=True, slots=True)
class Candidates:
    """The codes that may still be drawn at every position."""

    logits: Float[Tensor, "batch new candidates"]  # -inf where a candidate is ruled out
    codes: Int64[Tensor, "batch new candidates"] | None  # None: candidate i is code i


def temper(choice: Candidates, settings: AtScale) -> Candidates:
    """Divide the logits by the temperature."""
    return choice if settings.temperature == 1 else Candidates(choice.logits / settings.temperature, choice.codes)


def keep_top_k(choice: Candidates, settings: AtScale) -> Candidates:
    """Keep the k likeliest codes, which come sorted; 0 keeps all."""
    return _sorted(choice, settings.top_k) if 0 < settings.top_k < choice.logits.shape[-1] else choice


def keep_top_p(choice: Candidates, settings: AtScale) -> Candidates:
    """Keep the smallest set of likeliest codes with this much of the probability that is left; 0 and 1 keep all.

    After a top-k only those k are looked at; the vocabulary is sorted for a top-p alone.
    """
    if not 0 < settings.top_p < 1:
        return choice
    if choice.codes is None:
        choice = _sorted(choice, choice.logits.shape[-1])
    probabilities = choice.logits.softmax(dim=-1)
    # A code stays while the codes likelier than it do not yet hold top_p: the likeliest always does.
    before = probabilities.cumsum(dim=-1) - probabilities
    return Candidates(choice.logits.masked_fill(before >= settings.top_p, -torch.inf), choice.codes)


def keep_min_p(choice: Candidates, settings: AtScale) -> Candidates:
    """Keep the codes at least `min_p` times as probable as the likeliest (arXiv 2407.01082); 0 keeps all."""
    if not settings.min_p:
        return choice
    least = choice.logits.amax(dim=-1, keepdim=True) + math.log(settings.min_p)
    return Candidates(choice.logits.masked_fill(choice.logits < least, -torch.inf), choice.codes)


RULES: list[Callable[[Candidates, AtScale], Candidates]] = [temper, keep_top_k, keep_top_p, keep_min_p]
"""What narrows the choice, in this order. A new rule is a function here and a field of `SamplingSettings`."""


def candidates(logits: Float[Tensor, "batch new vocabulary"], settings: AtScale) -> Candidates:
    """The codes that are left after all `RULES`."""
    choice = Candidates(logits, None)
    for rule in RULES:
        choice = rule(choice, settings)
    return choice


def _sorted(choice: Candidates, count: int) -> Candidates:
    """The `count` likeliest of all codes, likeliest first."""
    assert choice.codes is None
    return Candidates(*choice.logits.topk(count, dim=-1))
