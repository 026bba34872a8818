"""Where tokens' randomness comes from: a stream for each image, or the one stream of the official code."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.errors import UserError
from var.generation.logits import Candidates
from var.names import received
from var.sampling.choosing import chosen_by
from var.sampling.streams import Generators, GivenSeeds, random_streams


class Draws(Protocol):
    """Random choices among candidates."""

    def codes(self, choice: Candidates) -> Int64[Tensor, "batch new"]:
        """A code at every position."""
        ...

    def mixtures(
        self, choice: Candidates, codebook: Float[Tensor, "vocabulary width"], ratio: float
    ) -> Float[Tensor, "batch new width"]:
        """Gumbel-softmax mixtures of code vectors in place of single codes: smoother images, for looks, not scores.

        `ratio` is k / (K - 1). Sharper towards the fine scales: temperature max(0.27 (1 - 0.95 ratio), 0.005), logits
        times 1 + ratio (the constants of the published sampler).
        """
        ...


class PerImageDraws:
    """Each image's numbers come from its own generator, so that it does not depend on the batch."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def codes(self, choice: Candidates) -> Int64[Tensor, "batch new"]:
        """A code at every position, from one uniform number per position."""
        if choice.logits.shape[-1] == 1:
            winner = torch.zeros_like(choice.logits[..., 0], dtype=torch.long)
        else:
            winner = chosen_by(choice.logits, self._numbers(choice.logits.shape[:-1], torch.Tensor.uniform_))
        return winner if choice.codes is None else choice.codes.gather(-1, winner[..., None])[..., 0]

    def mixtures(
        self, choice: Candidates, codebook: Float[Tensor, "vocabulary width"], ratio: float
    ) -> Float[Tensor, "batch new width"]:
        """Gumbel-softmax mixtures; see `Draws`."""
        exponential = self._numbers(choice.logits.shape, torch.Tensor.exponential_)
        weights = _gumbel_weights(choice.logits, exponential, ratio).to(codebook.dtype)
        if choice.codes is None:
            return weights @ codebook
        return torch.einsum("bnk,bnkw->bnw", weights, codebook[choice.codes])

    def _numbers(self, shape: Sequence[int], fill: Callable[..., Tensor]) -> Float[Tensor, "batch *rest"]:
        """Random numbers of `shape`, those of each sample from its own generator, drawn in place by `fill`."""
        numbers = torch.empty(tuple(shape), dtype=torch.float32, device=self.generators[0].device)
        for sample, generator in zip(numbers, self.generators, strict=True):
            fill(sample, generator=generator)
        return numbers


class OfficialDraws:
    """One generator for the whole batch, asked as the official code asks it: the same numbers give the same tokens."""

    def __init__(self, generator: torch.Generator, vocabulary: int) -> None:
        self.generator = generator
        self.vocabulary = vocabulary

    def codes(self, choice: Candidates) -> Int64[Tensor, "batch new"]:
        """A code at every position, by `torch.multinomial` over the whole vocabulary."""
        probabilities = self._full(choice).softmax(dim=-1).flatten(0, 1)
        drawn = torch.multinomial(probabilities, 1, replacement=True, generator=self.generator)
        return drawn.view(choice.logits.shape[:-1])

    def mixtures(
        self, choice: Candidates, codebook: Float[Tensor, "vocabulary width"], ratio: float
    ) -> Float[Tensor, "batch new width"]:
        """Gumbel-softmax mixtures; see `Draws`."""
        logits = self._full(choice)
        exponential = torch.empty_like(logits).exponential_(generator=self.generator)
        return _gumbel_weights(logits, exponential, ratio).to(codebook.dtype) @ codebook

    def _full(self, choice: Candidates) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of all codes, -inf for those that are no candidates."""
        if choice.codes is None:
            return choice.logits
        full = choice.logits.new_full((*choice.logits.shape[:-1], self.vocabulary), -torch.inf)
        return full.scatter_(-1, choice.codes, choice.logits)


def _gumbel_weights(logits: Tensor, exponential: Tensor, ratio: float) -> Tensor:
    temperature = max(0.27 * (1 - 0.95 * ratio), 0.005)
    gumbel = -exponential.to(logits.device).log_()
    return ((logits * (1 + ratio) + gumbel) / temperature).softmax(dim=-1)


def draws_of(
    count: int,
    generator: Generators,
    seeds: GivenSeeds,
    device: torch.device,
    *,
    official: int | None,
    random_classes: bool,
) -> tuple[Draws, list[int]]:
    """The random choices of a call for `count` images, and the seeds that stand for them.

    `official` is the vocabulary of the official stream, None without: one generator is then asked as the official code
    asks the one it seeds with `g_seed`, so that the same weights give the same tokens. The whole batch is one draw, and
    the seeds, all the same, stand for it and not for single images. `random_classes` is whether classes are drawn,
    which takes a seed for each image. Raises `UserError` for what one stream for all images cannot serve.
    """
    if official is None:
        generators, seeds = random_streams(count, generator, seeds, device)
        return PerImageDraws(generators), seeds
    if not isinstance(generator, torch.Generator) or generator.device.type != device.type or seeds is not None:
        raise UserError(
            f"official_stream needs one generator for all images, on the device of the models, and no seeds, got "
            f"generator={received(generator)} and seeds={received(seeds)}; pass "
            f"torch.Generator({device.type!r}).manual_seed(g_seed)"
        )
    if random_classes:
        raise UserError(
            "official_stream has no seed per image to draw its class from, got class_labels='random'; pass the classes"
        )
    return OfficialDraws(generator, official), [generator.initial_seed()] * count
