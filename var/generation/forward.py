"""How the logits of a scale come about; and the plain way, through the model's own modules."""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.generation.cache import KVCache
from var.generation.guidance import guided
from var.transformer.config import VARConfig
from var.transformer.model import VAR, Conditioning
from var.vqvae.model import VQVAE
from var.vqvae.quantizer import MultiScaleQuantizer


class Pass(Protocol):
    """A transformer on its way through the scales of one call."""

    def logits(
        self, scale: int, latent: Float[Tensor, "batch width height width_"] | None, guidance: float
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of the tokens of `scale`, given the latent accumulated before it (None at the first scale)."""
        ...


class Forward(Protocol):
    """A transformer as generation uses it; what a call needs is in the `Pass` that it begins."""

    @property
    def quantizer(self) -> MultiScaleQuantizer:
        """The quantiser that turns token maps into latents."""
        ...

    def begin(self, labels: Int64[Tensor, " batch"], *, guide: bool) -> Pass:
        """The pass of a call for these labels; with `guide` the model is run without them too."""
        ...


class PlainForward:
    """Through the modules that are trained, in the precision of their weights: slower, and the truth for others."""

    def __init__(self, vqvae: VQVAE, model: VAR) -> None:
        self.quantizer = vqvae.quantizer
        self.model = model

    def begin(self, labels: Int64[Tensor, " batch"], *, guide: bool) -> "PlainPass":
        """Compute what the labels contribute, and make room for keys and values."""
        if guide:
            labels = with_null(labels, self.model.config)
        conditioning = self.model.conditioning(labels)
        start = conditioning.start
        cache = KVCache(self.model.config, len(labels), dtype=start.dtype, device=start.device)
        return PlainPass(self, conditioning, cache, guide)


@dataclass(frozen=True, slots=True)
class PlainPass:
    """One call of `PlainForward`."""

    forward: PlainForward
    conditioning: Conditioning
    cache: KVCache
    guide: bool

    def logits(
        self, scale: int, latent: Float[Tensor, "batch width height width_"] | None, guidance: float
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of the tokens of `scale`, guided where the call is."""
        model, x = self.forward.model, self.conditioning.start
        where = list(model.scales.slices())[scale]
        if latent is not None:
            inputs = self.forward.quantizer.shrink(latent, scale).flatten(2).mT
            embedded = model.embed(inputs.to(x.dtype), where)
            x = embedded.repeat(len(x) // len(embedded), 1, 1)
        logits = model.predict(x, self.conditioning, cache=self.cache, where=where)
        return guided(logits, guidance) if self.guide else logits


def with_null(labels: Int64[Tensor, " batch"], config: VARConfig) -> Int64[Tensor, " twice_batch"]:
    """The labels, and after them as many null labels, as guidance wants them."""
    return torch.cat((labels, torch.full_like(labels, config.num_classes)))
