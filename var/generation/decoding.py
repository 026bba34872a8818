"""Latents to images as generation runs it: channels last, in the type that the device is fast in, a few at a time."""

import copy
import operator
import threading
from collections.abc import Callable
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from var.eval_mode import eval_mode
from var.generation.graphs import record
from var.generation.projection import computing_type
from var.generation.replaced import check_copied
from var.generation.sources import Sources
from var.images import images_at_once
from var.sampling.finite import Finite
from var.tokenizer import Tokenizer


class ImageDecoder:
    """Decodes with a tokenizer, whose decoder is laid out channels last by it (on a CPU that takes a quarter off)."""

    def __init__(self, tokenizer: Tokenizer, *, graphs: bool = False) -> None:
        """With `graphs` its kernels are recorded as a CUDA graph for the last number of images."""
        self.graphs, self._lock = graphs, threading.Lock()
        self.recorded: tuple[torch.Size, Callable[[Tensor], Tensor]] | None = None
        self.modules, (stored, device) = tuple(tokenizer.decoding()), _kind(tokenizer)
        self.kind = stored, device
        self.dtype = computing_type(stored, device)
        decoder = nn.Sequential(*self.modules)
        if self.dtype != stored:
            check_copied(decoder)
            decoder = copy.deepcopy(decoder).to(self.dtype)
        self.decoder = decoder.to(memory_format=torch.channels_last)
        self.sources = Sources(self._sources(), (*self.decoder.parameters(), *self.decoder.buffers()))
        self.chunk = images_at_once(tokenizer.config.image_size, tokenizer.device)

    def fits(self, tokenizer: Tokenizer) -> bool:
        """Whether it decodes with this tokenizer and its weights as they now are."""
        modules = tuple(tokenizer.decoding())
        same = len(modules) == len(self.modules) and all(map(operator.is_, modules, self.modules))
        return same and _kind(tokenizer) == self.kind and self.sources.are(self._sources())

    def _sources(self) -> list[Tensor]:
        """The weights of which it keeps copies or addresses; without any it calls the tokenizer's own modules."""
        if self.dtype == self.kind[0] and not self.graphs:
            return []
        check_copied(nn.Sequential(*self.modules))
        return [tensor for module in self.modules for tensor in (*module.parameters(), *module.buffers())]

    @torch.no_grad()
    def __call__(self, latents: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1], float32, of accumulated latents; memory holds the features of a few images only.

        Raises `UserError` for NaN and infinity, on other devices than a CPU after the last image.
        """
        images, finite = None, Finite("generation needs finite images", "look at the tokenizer's weights")
        with eval_mode(self.decoder):
            for start in range(0, len(latents), self.chunk):
                part = latents[start : start + self.chunk].to(self.dtype, memory_format=torch.channels_last)
                with self._lock if self.graphs else nullcontext():  # a graph has one place for its result
                    decoded = finite.checked(self._decoded(part).float()).clamp_(-1, 1)
                    if images is None:
                        images = decoded.new_empty((len(latents), *decoded.shape[1:]))
                    images[start : start + self.chunk] = decoded
        assert images is not None
        finite.settle()
        return images

    def _decoded(self, part: Float[Tensor, "some width _h _w"]) -> Float[Tensor, "some c h w"]:
        if not self.graphs:
            return self.decoder(part)
        if self.recorded is None or self.recorded[0] != part.shape:
            self.recorded = None  # frees the old one first
            self.recorded = part.shape, record(self.decoder, part)
        return self.recorded[1](part)


def _kind(tokenizer: Tokenizer) -> tuple[torch.dtype, torch.device]:
    """Type and device of what decodes; those of the codes where nothing there has weights."""
    weights = (parameter for module in tokenizer.decoding() for parameter in module.parameters())
    first = next(weights, tokenizer.codes(0))
    return first.dtype, first.device
