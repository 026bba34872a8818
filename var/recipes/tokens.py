"""Token maps of a whole data set, encoded once so that training need not run the encoder at every step."""

from dataclasses import dataclass

import torch
from jaxtyping import Int16, Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.base import ImageData
from var.errors import UserError
from var.randomness import keyed_generator
from var.vqvae import VQVAE

BATCH = 100


@dataclass(frozen=True, slots=True)
class TokenCache:
    """Tokens of every image, in one or several variants (drawn with a temperature above 0)."""

    tokens: Int16[Tensor, "variants n length"]

    @classmethod
    @torch.inference_mode()
    def of(
        cls,
        data: ImageData,
        vqvae: VQVAE,
        *,
        variants: int = 1,
        temperature: float | int = 0,
        seed: int = 0,
        progress: bool = True,
        bar_line: int = 0,
    ) -> "TokenCache":
        """Encode all of `data`; several `variants` differ only above `temperature` 0 (see `Codebook.nearest`).

        Raises ValueError for a vocabulary beyond 32768, whose tokens do not fit 16 bits.
        """
        if vqvae.config.vocabulary > 2**15:
            raise UserError(f"a token cache holds 16-bit tokens, got a vocabulary of {vqvae.config.vocabulary}")
        device = next(vqvae.parameters()).device
        scales = vqvae.config.schedule
        tokens = torch.empty(variants, len(data), scales.length, dtype=torch.int16)
        with tqdm(total=variants * len(data), desc="encode", disable=not progress, position=bar_line) as bar:
            for start in range(0, len(data), BATCH):
                indices = range(start, min(start + BATCH, len(data)))
                images = torch.stack([data.load(index) for index in indices]).to(device)
                for variant in range(variants):
                    generator = keyed_generator("tokens", seed, variant, start, device=device)
                    token_maps = vqvae.encode(images, temperature=temperature, generator=generator)
                    tokens[variant, start : indices.stop] = scales.flatten(token_maps).to("cpu", torch.int16)
                    bar.update(len(indices))
        return cls(tokens)

    def draw(self, indices: Int64[Tensor, " batch"], generator: torch.Generator) -> Int64[Tensor, "batch length"]:
        """Tokens of the images at `indices`, each in a variant chosen by `generator`, on its device."""
        device = generator.device
        variants = torch.randint(len(self.tokens), indices.shape, generator=generator, device=device)
        return self.tokens[variants.cpu(), indices.cpu()].to(device, torch.int64)
