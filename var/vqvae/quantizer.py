"""Multi-scale residual quantisation (arXiv 2404.02905, Algorithms 1 and 2)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.tokenizer import Accumulator
from var.vqvae.all_gather import gathered
from var.vqvae.codebook import Codebook
from var.vqvae.config import VQVAEConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """Result of a training pass through the quantiser."""

    latent: Float[Tensor, "batch width h w"]  # accumulated latent, straight-through to the encoder
    loss: Float[Tensor, ""]  # mean over scales of beta MSE(sg(acc_k), f) + MSE(acc_k, sg(f))
    token_maps: list[Int64[Tensor, "batch _h _w"]]
    entropies: tuple[Float[Tensor, ""], Float[Tensor, ""]] | None  # see `Codebook.entropies`


class MultiScaleQuantizer(Accumulator):
    """Encodes a latent as token maps, each quantising what the coarser ones left over."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.scales = config.schedule
        self.commitment = config.commitment
        self.phi_ratio = config.phi_ratio
        self.pooling = config.pooling
        self.scale_dropout = config.scale_dropout
        self.codebook = Codebook(config)
        phis = len(self.scales) if config.phi == "per-scale" else config.phi
        self.phi_index = _phi_of_scales(len(self.scales), phis)
        self.phi = nn.ModuleList(nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(phis))

    def encode(
        self, latent: Float[Tensor, "batch width h w"], temperature: float = 0, generator: torch.Generator | None = None
    ) -> list[Int64[Tensor, "batch _h _w"]]:
        """Token maps of a latent, coarse to fine; see `Codebook.nearest` for `temperature`.

        What a random choice leaves over, finer scales make good: drawn token maps still decode to the image.
        """
        token_maps = []
        residual = latent
        for scale in range(len(self.scales)):
            # Algorithm 1: r_k = Q(interpolate(f, h_k, w_k)), then f = f - phi_k(interpolate(lookup(Z, r_k), h_K, w_K)).
            token_maps.append(self.codebook.nearest(self.shrink(residual, scale), temperature, generator, scale))
            residual = residual - self.contribution(token_maps[-1], scale)
        return token_maps

    def codes(self, scale: int) -> Float[Tensor, "vocabulary width"]:
        """The codebook, which all scales share."""
        return self.codebook.weight

    def expand(self, codes: Float[Tensor, "batch width _h _w"], scale: int) -> Float[Tensor, "batch width h w"]:
        """Codes of `scale`, upsampled (bicubic; not at the last scale), then phi."""
        if self.scales.shapes[scale] != self.scales.shapes[-1]:
            codes = F.interpolate(codes, size=self.scales.shapes[-1], mode="bicubic")
        phi = self.phi[self.phi_index[scale]]
        return codes.lerp(phi(codes).to(codes.dtype), self.phi_ratio)  # autocast would mix precisions

    def shrink(self, latent: Float[Tensor, "batch width h w"], scale: int) -> Float[Tensor, "batch width _h _w"]:
        """A latent at the resolution of `scale`: area-downsampled (not at the last scale), or its median."""
        if self.scales.shapes[scale] == self.scales.shapes[-1]:
            return latent
        if self.pooling == "median" and self.scales.shapes[scale] == (1, 1):
            return latent.flatten(2).median(dim=2).values[..., None, None]
        return F.interpolate(latent, size=self.scales.shapes[scale], mode="area")

    def forward(
        self,
        latent: Float[Tensor, "batch width h w"],
        generator: torch.Generator | None = None,
        entropy_temperature: float | None = None,
    ) -> Quantized:
        """Quantise in training: straight-through latent, loss, and the codebook's own learning.

        `generator` picks the vectors at which dead codes restart and k-means begins, and the scales that are dropped:
        a share `scale_dropout` of the images is passed on as it is known after a random number of scales, from one to
        all but one. With an `entropy_temperature`, the entropies of the choices are measured too.
        """
        target = latent.detach()
        if self.training and self.codebook.wants_init:
            self.codebook.init_from(self._residual_vectors(gathered(target)), generator)
        last = self._last_scales(len(latent), latent.device, generator)
        token_maps: list[Tensor] = []
        vectors: list[Tensor] = []
        accumulated = known = torch.zeros_like(target)
        loss = target.new_zeros(())
        # Algorithm 1 takes every scale's part off f. Here f stays and f-hat, the sum of the parts (Algorithm 2), grows
        # towards it, so that codes and phi learn through f-hat; what the paper calls f is target - accumulated.
        for scale in range(len(self.scales)):
            # r_k = Q(interpolate(f, h_k, w_k)); only the entropies need the encoder's gradient here.
            source = target if entropy_temperature is None else latent
            shrunk = self.shrink(source - accumulated.detach(), scale)
            token_maps.append(self.codebook.nearest(shrunk, scale=scale))
            vectors.append(rearrange(shrunk, "b c h w -> (b h w) c"))
            # z_k = interpolate(lookup(Z, r_k), h_K, w_K); f = f - phi_k(z_k), which is f-hat = f-hat + phi_k(z_k).
            accumulated = accumulated + self.contribution(token_maps[-1], scale)
            known = accumulated if last is None else torch.where(last == scale, accumulated, known)
            # The codebook loss for every prefix of the scales: the encoder is pulled to f-hat, the codes to f.
            loss = loss + self.commitment * F.mse_loss(accumulated.detach(), latent) + F.mse_loss(accumulated, target)
        entropies = None
        if entropy_temperature is not None:
            entropies = self.codebook.entropies(torch.cat(vectors), entropy_temperature)
        if self.training:
            self.codebook.observe(vectors, [tokens.flatten() for tokens in token_maps], generator)
        return Quantized(
            latent=latent + (known - latent).detach(),  # straight through: the value of f-hat, the gradient of f
            loss=loss / len(self.scales),
            token_maps=token_maps,
            entropies=entropies,
        )

    def _last_scales(
        self, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Int64[Tensor, "batch 1 1 1"] | None:
        """The last scale of every image that its decoder sees; None where that is the finest of all."""
        if not (self.training and self.scale_dropout):
            return None
        finest = len(self.scales) - 1
        dropped = torch.rand(batch, generator=generator, device=device) < self.scale_dropout
        earlier = torch.randint(finest, (batch,), generator=generator, device=device)
        return torch.where(dropped, earlier, finest)[:, None, None, None]

    @torch.no_grad()
    def _residual_vectors(self, latent: Tensor) -> Tensor:
        """The vectors that an ideal codebook (one that quantises without error) would meet, over all scales."""
        vectors = []
        residual = latent
        for scale in range(len(self.scales)):
            shrunk = self.shrink(residual, scale)
            vectors.append(rearrange(shrunk, "b c h w -> (b h w) c"))
            residual = residual - self.expand(shrunk, scale)
        return torch.cat(vectors)


def _phi_of_scales(scales: int, phi: int) -> list[int]:
    """Index of the phi of every scale: of `phi` evenly spread ticks in [0, 1], the one nearest to k / (K - 1)."""
    # numpy's linspace, because ties (K = 10 has them) are decided by its rounding in the published checkpoints.
    edge = 1 / 3 / phi if phi == 4 else 1 / 2 / phi
    ticks = np.linspace(edge, 1 - edge, phi)
    return [int(np.argmin(np.abs(ticks - k / max(scales - 1, 1)))) for k in range(scales)]
