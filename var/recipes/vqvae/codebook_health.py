"""Whether the codes of every scale stay in use, in words."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from var.vqvae.config import VQVAEConfig

PATIENCE = 3  # times in a row that something must be wrong before it is said
FEWEST_CODES = 2.0  # perplexity below which a scale says next to nothing
LARGEST_FALL = 4.0  # times that a perplexity may fall below the best it had
SMALLEST_SHARE = 0.5  # of the codebook that at least one scale should use


def count_codes(
    token_maps: Sequence[Int64[Tensor, "batch _h _w"]], vocabulary: int
) -> Int64[Tensor, "scales vocabulary"]:
    """How often each code stands in the token maps of each scale."""
    return torch.stack([torch.bincount(tokens.flatten(), minlength=vocabulary) for tokens in token_maps])


def code_use(
    counts: Int64[Tensor, "*scales vocabulary"],
) -> tuple[Float64[Tensor, "*scales"], Float64[Tensor, "*scales"]]:
    """The share of the codes that occur at all, and the perplexity of their distribution."""
    shares = counts.double() / counts.sum(-1, keepdim=True).clamp_min(1)
    return (counts > 0).double().mean(-1), torch.special.entr(shares).sum(-1).exp()


class CodebookWatch:
    """Watches usage and perplexity of all scales, and says once when codes fall out of use.

    Three alarms: a scale whose tokens are worth less than two codes, a scale whose perplexity fell to a quarter of the
    best it had, and a codebook of which every scale leaves more than half unused. Each is given when it is found for
    the third time in a row, and again only after it was over. The steps that the running statistics need to fill are
    left out.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        self.config = config
        self._best = [0.0] * len(config.schedule)
        self._streaks: dict[str, int] = {}

    def alarms(self, step: int, numbers: Mapping[str, float]) -> list[str]:
        """New alarms after `step` steps, in sentences.

        `numbers` holds `usage_k` (share of the codes in use) and `perplexity_k` of every scale k.
        """
        if step * (1 - self.config.codebook_decay) < 1 - 1e-6:
            return []
        vocabulary, remedy = self.config.vocabulary, remedy_for(self.config)
        alarms = []
        shares = []
        for scale, (height, width) in enumerate(self.config.schedule.shapes):
            share, perplexity = numbers[f"usage_{scale}"], numbers[f"perplexity_{scale}"]
            best = self._best[scale] = max(self._best[scale], perplexity)
            shares.append(share)
            where = f"scale {scale} ({height}x{width})"
            used = f"{share:.0%} of {vocabulary} codes in use, perplexity {perplexity:.1f}"
            if self._lasts(f"empty {scale}", perplexity < FEWEST_CODES):
                alarms.append(f"{where} has collapsed, its tokens say next to nothing: {used}; {remedy}")
            elif self._lasts(f"fallen {scale}", FEWEST_CODES <= perplexity < best / LARGEST_FALL):
                alarms.append(f"{where} is collapsing: {used}, after a perplexity of {best:.1f} before; {remedy}")
        if self._lasts("unused", max(shares) < SMALLEST_SHARE):
            alarms.append(
                f"most of the codebook is unused: no scale has more than {max(shares):.0%} of {vocabulary} codes in "
                f"use; {remedy}"
            )
        return alarms

    def _lasts(self, fault: str, found: bool) -> bool:
        """Whether this is the time at which `fault` has to be said."""
        self._streaks[fault] = self._streaks.get(fault, 0) + 1 if found else 0
        return self._streaks[fault] == PATIENCE


def remedy_for(config: VQVAEConfig) -> str:
    """What brings codes back into use."""
    if config.codebook != "ema" or not config.kmeans_init or not config.restart_below:
        return "train with codebook='ema', kmeans_init=true and restart_below=0.05"
    return "lower the learning rate, raise the batch size or shrink the vocabulary"
