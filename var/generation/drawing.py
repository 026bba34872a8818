"""How the token map of one scale is drawn: in one pass, or in several, each of which is told what is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from var.generation.draws import Draws
from var.generation.logits import candidates
from var.generation.sampling_settings import AtScale
from var.sampling.finite import Finite
from var.tokenizer import Accumulator

Put = Callable[[int, Tensor], Tensor]
"""Called with a scale's index and the token map that was drawn; gives the one that is taken, with what is known."""


Drawn = Sequence[Int64[Tensor, "batch _some"]]
"""Tokens of one map by the passes that drew them, see `Passes`."""


def as_drawn(scale: int, drawn: Tensor) -> Tensor:
    """Nothing is known but what is drawn."""
    return drawn


@dataclass(frozen=True, slots=True)
class Drawing:
    """The draw of one token map of a batch."""

    scale: int
    accumulator: Accumulator
    passes: Sequence[Int64[Tensor, " some"]]  # the positions in the map that each pass draws
    settings: AtScale
    draws: Draws
    put: Put
    finite: Finite  # what looks at the logits before anything is drawn from them

    def token_map(
        self, predict: Callable[[Drawn], Float[Tensor, "batch new vocabulary"]]
    ) -> tuple[Float[Tensor, "batch all vocabulary"], Int64[Tensor, "batch _h _w"]]:
        """The logits of all tokens and the map that was drawn from them, pass by pass as `predict` gives them."""
        shape, parts, told, drawn = self.accumulator.scales.shapes[self.scale], [], [], None
        for positions in self.passes:
            parts.append(self.finite.checked(predict(told)))
            codes = self.draws.codes(candidates(parts[-1], self.settings))
            if len(self.passes) == 1:
                return parts[0], self.put(self.scale, codes.unflatten(1, shape))
            drawn = codes.new_zeros(len(codes), shape[0] * shape[1]) if drawn is None else drawn
            drawn = drawn.index_copy(1, positions, codes)
            drawn = self.put(self.scale, drawn.unflatten(1, shape)).flatten(1)
            told.append(drawn[:, positions])
        assert drawn is not None
        back = torch.cat(list(self.passes)).argsort()
        return torch.cat(parts, dim=1)[:, back], drawn.unflatten(1, shape)

    def contribution(
        self, logits: Float[Tensor, "batch all vocabulary"], token_map: Int64[Tensor, "batch _h _w"]
    ) -> Float[Tensor, "batch width h w"]:
        """What the map adds to the latent: its codes, or mixtures drawn from its logits where it is to be smooth."""
        scale, accumulator = self.scale, self.accumulator
        if not self.settings.smooth:
            return accumulator.contribution(token_map, scale)
        codebook, ratio = accumulator.codes(scale), scale / max(len(accumulator.scales) - 1, 1)
        mixed = self.draws.mixtures(candidates(logits, self.settings), codebook, ratio)
        known = self.put(scale, torch.full_like(token_map, -1))  # a code where it is known, no mixture
        known_codes = F.embedding(known.clamp_min(0), codebook)
        codes = torch.where((known < 0)[..., None], mixed.unflatten(1, token_map.shape[1:]), known_codes)
        return accumulator.expand(rearrange(codes, "b h w c -> b c h w"), scale)
