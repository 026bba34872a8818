"""Latents to images as generation runs it: channels last, in the type that the device is fast in, a few at a time."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from var.generation.projection import computing_type
from var.tokenizer import Tokenizer

CHUNK_PIXELS = {"cpu": 2**16}
"""Pixels of the images that are decoded together: one of 256x256 on a CPU, which gains nothing from more."""
MANY_PIXELS = 2**20
"""The same on other devices, which idle with fewer: 16 of 256x256."""


class ImageDecoder:
    """Decodes with a tokenizer, whose decoder is laid out channels last by it (on a CPU that takes a quarter off)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        stored, device = tokenizer.codes(0).dtype, tokenizer.device
        self.dtype = computing_type(stored, device)
        decoder = nn.Sequential(*tokenizer.decoding())
        if self.dtype != stored:
            decoder = copy.deepcopy(decoder).to(self.dtype)
        self.decoder = decoder.to(memory_format=torch.channels_last)
        height, width = tokenizer.config.image_size
        pixels = CHUNK_PIXELS.get(device.type, MANY_PIXELS)
        self.chunk = max(pixels // (height * width), 1)

    @torch.no_grad()
    def __call__(self, latents: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1], float32, of accumulated latents; memory holds the features of a few images only."""
        images = None
        for start in range(0, len(latents), self.chunk):
            part = latents[start : start + self.chunk].to(self.dtype, memory_format=torch.channels_last)
            decoded = self.decoder(part).float().clamp_(-1, 1)
            if images is None:
                images = decoded.new_empty((len(latents), *decoded.shape[1:]))
            images[start : start + self.chunk] = decoded
        assert images is not None
        return images
