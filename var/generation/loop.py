"""The loop over scales: predict a token map, add its codes to the latent, feed the latent on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from var.generation.cache import KVCache
from var.generation.guidance import guided
from var.generation.logits import Sampling, candidates, draw, smoothed_codes
from var.transformer.model import VAR
from var.vqvae.model import VQVAE

OnScale = Callable[[int, Tensor, Tensor], None]
"""Called after every scale with its index, its token map and the latent accumulated so far."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Token maps, coarse to fine, and the accumulated latent after every scale."""

    token_maps: list[Int64[Tensor, "batch _h _w"]]
    latents: list[Float[Tensor, "batch width height width_"]]


@torch.no_grad()
def generate(
    vqvae: VQVAE,
    model: VAR,
    labels: Int64[Tensor, " batch"],
    *,
    guidance: Sequence[float],
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    smooth: bool = False,
    scales: Iterable[int] | None = None,
    on_scale: OnScale | None = None,
) -> Generated:
    """Draw the token maps of `labels` scale by scale (arXiv 2404.02905, Algorithm 2 decodes the result).

    `guidance` holds a guidance scale for every scale; where all are 1 the null half is not computed at all. `scales`
    may wrap the scale indices, for a progress bar.
    """
    batch = len(labels)
    guide = any(scale != 1 for scale in guidance)
    if guide:
        labels = torch.cat((labels, torch.full_like(labels, model.config.num_classes)))
    conditioning = model.conditioning(labels)
    cache = KVCache(model.config, len(labels), dtype=conditioning.start.dtype, device=labels.device)
    quantizer = vqvae.quantizer
    places = list(model.scales.slices())
    x = conditioning.start
    token_maps: list[Tensor] = []
    latents: list[Tensor] = []
    for scale in range(len(places)) if scales is None else scales:
        logits = model.predict(x, conditioning, cache=cache, where=places[scale])
        if guide:
            logits = guided(logits, guidance[scale])
        choice = candidates(logits, sampling)
        shape = model.scales.shapes[scale]
        token_maps.append(draw(choice, generators).unflatten(1, shape))
        if smooth:
            ratio = scale / max(len(places) - 1, 1)
            codes = smoothed_codes(choice, quantizer.codebook.weight, ratio, generators)
            part = quantizer.expand(rearrange(codes, "b (h w) c -> b c h w", h=shape[0]), scale)
        else:
            part = quantizer.contribution(token_maps[-1], scale)
        latents.append(latents[-1] + part if latents else part)
        if on_scale is not None:
            on_scale(scale, token_maps[-1], latents[-1])
        if scale + 1 < len(places):
            inputs = quantizer.shrink(latents[-1], scale + 1).flatten(2).mT
            x = model.embed(inputs.to(conditioning.start.dtype), places[scale + 1])
            x = x.repeat(len(labels) // batch, 1, 1)
    return Generated(token_maps, latents)
