"""Whether samples show what they were asked for in words."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from var.errors import UserError

AMONG = 32
"""Captions among which the own one of a sample is looked for, unless said otherwise."""


def attributes_as_asked(
    found: Mapping[str, Sequence[str]], asked: Sequence[Mapping[str, str]]
) -> dict[str, Bool[Tensor, " n"]]:
    """For each attribute, of which samples the word `found` is the one `asked` for; right where nothing is asked.

    Raises `UserError` for another number of samples than of prompts.
    """
    for name, words in found.items():
        if len(words) != len(asked):
            raise UserError(f"{name} must be found for each of {len(asked)} prompts, got {len(words)}; match them")
    return {
        name: torch.tensor([wish.get(name, word) == word for word, wish in zip(words, asked, strict=True)])
        for name, words in found.items()
    }


def text_alignment(right: Mapping[str, Bool[Tensor, " n"]], names: Sequence[str]) -> float | None:
    """Share, in [0, 1], of samples of which all attributes called `names` are right; None if one is not judged."""
    if any(name not in right for name in names):
        return None
    return torch.stack([right[name] for name in names]).all(dim=0).double().mean().item()


def retrieval(
    images: Float[Tensor, "n dimensions"],
    captions: Float[Tensor, "m dimensions"],
    own: Int64[Tensor, " n"],
    *,
    among: int = AMONG,
) -> float | None:
    """R@1: chance, in [0, 1], that the caption most like a sample is its own, among `among` of `captions`.

    `own` are the rows of the captions that the samples were drawn for; captions must differ. Likeness is the cosine;
    the others are drawn from all captions, and the mean over all draws is exact: C(worse, among - 1) / C(m - 1, among -
    1). None for fewer captions than `among`.
    """
    if len(captions) < among:
        return None
    likeness = torch.nn.functional.normalize(images.double(), dim=1) @ (
        torch.nn.functional.normalize(captions.double(), dim=1).T
    )
    worse = (likeness < likeness.gather(1, own[:, None])).sum(dim=1).tolist()
    draws = math.comb(len(captions) - 1, among - 1)
    return sum(math.comb(each, among - 1) / draws for each in worse) / len(worse)
