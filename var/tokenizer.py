"""What generation and the training of transformers see of a tokenizer, of which `VQVAE` is one."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.errors import UserError
from var.hub import PretrainedModel
from var.names import shown
from var.sampling.finite import check_finite
from var.scales import ScaleSchedule, Side

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""Types in which tokens may come from outside."""


class TokenizerConfig(Protocol):
    """What the config of a tokenizer, a frozen dataclass, must tell."""

    @property
    def sides(self) -> tuple[Side, ...]:
        """Of the token maps, coarse to fine."""
        ...

    @property
    def schedule(self) -> ScaleSchedule:
        """The scales of the token maps."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number of codes."""
        ...

    @property
    def width(self) -> int:
        """Of a latent vector and of a code."""
        ...

    @property
    def in_channels(self) -> int:
        """Of the images."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels."""
        ...


class Accumulator(nn.Module, ABC):
    """Adds token maps up to a latent, coarse to fine. It takes tokens as they are: none is checked."""

    scales: ScaleSchedule

    @abstractmethod
    def codes(self, scale: int) -> Float[Tensor, "vocabulary width"]:
        """The vectors of all codes at `scale`."""

    @abstractmethod
    def expand(self, codes: Float[Tensor, "batch width _h _w"], scale: int) -> Float[Tensor, "batch width h w"]:
        """What codes of `scale` add to the latent, at its full resolution."""

    @abstractmethod
    def shrink(self, latent: Float[Tensor, "batch width h w"], scale: int) -> Float[Tensor, "batch width _h _w"]:
        """A latent at the resolution of `scale`, as the transformer is shown it."""

    def contribution(self, token_map: Int64[Tensor, "batch _h _w"], scale: int) -> Float[Tensor, "batch width h w"]:
        """What the token map of `scale` adds to the latent."""
        return self.expand(rearrange(F.embedding(token_map, self.codes(scale)), "b h w c -> b c h w"), scale)

    def accumulate(self, token_maps: Sequence[Int64[Tensor, "batch _h _w"]]) -> list[Float[Tensor, "batch width h w"]]:
        """Accumulated latents (f-hat) after each of the given scales; the last one approximates the latent."""
        accumulated: list[Tensor] = []
        for scale, token_map in enumerate(token_maps):
            part = self.contribution(token_map, scale)
            accumulated.append(accumulated[-1] + part if accumulated else part)
        return accumulated

    def inputs(self, token_maps: Sequence[Int64[Tensor, "batch _h _w"]]) -> Float[Tensor, "batch rest width"]:
        """Transformer inputs of the scales after the first: the latent accumulated so far, at their resolution.

        `token_maps` are the first scales of an image, all of them or fewer; the last scale feeds nothing.
        """
        accumulated = self.accumulate(token_maps[: len(self.scales) - 1])
        parts = [self.shrink(latent, scale + 1).flatten(2) for scale, latent in enumerate(accumulated)]
        codes = self.codes(0)
        return torch.cat(parts, dim=2).mT if parts else codes.new_empty(len(token_maps[0]), 0, codes.shape[1])

    def in_float32(self) -> Self:
        """Itself, or a copy in float32."""
        return self if self.codes(0).dtype == torch.float32 else copy.deepcopy(self).float()


class Tokenizer(PretrainedModel, Accumulator):
    """Images to token maps and back. A subclass is saved and loaded by its name, which its module's import makes known.

    Images are float NCHW in [-1, 1]; token maps are coarse to fine, (batch, height, width) of `config.schedule`.
    """

    config: TokenizerConfig

    @abstractmethod
    def latent(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """The continuous latent before quantisation."""

    @abstractmethod
    def encode(
        self, images: Float[Tensor, "batch c h w"], *, temperature: float = 0, generator: torch.Generator | None = None
    ) -> list[Int64[Tensor, "batch _h _w"]]:
        """Token maps of images; above `temperature` 0 a draw from `generator` among the codes near the nearest one.

        In the precision of the weights even under autocast, so that tokens do not depend on how a step is computed.
        Raises `UserError` for images that do not fit the model.
        """

    @abstractmethod
    def decoding(self) -> Sequence[nn.Module]:
        """The modules through which `decode_latent` sends a latent, one after the other; no token depends on them."""

    def accumulating(self) -> Accumulator:
        """What generation needs between scales: the tokenizer itself, or a part of it."""
        return self

    def accumulator(self) -> Accumulator:
        """`accumulating` in float32: itself, or a copy, which generation makes anew when weights have changed."""
        return self.accumulating().in_float32()

    @property
    def scales(self) -> ScaleSchedule:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The scales of the token maps."""
        return self.config.schedule

    @property
    def device(self) -> torch.device:
        """Where the codes lie."""
        return self.codes(0).device

    def decode(self, token_maps: Sequence[Tensor]) -> Float[Tensor, "batch c h w"]:
        """Images of token maps; of the first few scales only, the image as far as it is known.

        Raises `UserError` for maps that are not those of the schedule, and for tokens outside the vocabulary.
        """
        return self.decode_latent(self.accumulate(self._checked(token_maps))[-1])

    def decode_latent(self, latent: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images of accumulated latents; raises `UserError` where NaN or infinity come out."""
        for module in self.decoding():
            latent = module(latent)
        check_finite(latent, "decoding needs finite images", "look at the tokenizer's weights")
        return latent.clamp(-1, 1)

    def reconstruct(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Images after a round trip through the tokens."""
        return self.decode(self.encode(images))

    def teacher_inputs(self, token_maps: Sequence[Tensor]) -> Float[Tensor, "batch rest width"]:
        """`inputs` of token maps from outside, which are checked; raises `UserError` as `decode` does."""
        return self.inputs(self._checked(token_maps))

    def _checked(self, token_maps: Sequence[Tensor]) -> Sequence[Tensor]:
        shapes, vocabulary = self.scales.shapes, self.config.vocabulary
        for token_map in token_maps if isinstance(token_maps, list | tuple) else [token_maps]:
            if not isinstance(token_map, Tensor) or token_map.dtype not in WHOLE:
                raise UserError(
                    f"token maps must be tensors of whole numbers, got {shown(repr(token_map)):.100}; "
                    "encode them with this tokenizer"
                )
        found = tuple(tuple(token_map.shape[1:]) for token_map in token_maps)
        if not found or found != shapes[: len(found)]:
            raise UserError(
                f"token maps must have the shapes {shapes} or the first of them, got {found}; "
                "encode them with this tokenizer"
            )
        if len({len(token_map) for token_map in token_maps}) > 1:
            raise UserError(
                f"token maps must be of the same images, got {[len(token_map) for token_map in token_maps]} of them; "
                "encode them together"
            )
        for scale, token_map in enumerate(token_maps):
            if not token_map.numel():
                continue
            low, high = int(token_map.min()), int(token_map.max())
            if low < 0 or high >= vocabulary:
                raise UserError(
                    f"tokens must lie in [0, {vocabulary}), got {low} to {high} at scale {scale}; "
                    "encode them with this tokenizer"
                )
        return [token_map.long() for token_map in token_maps]
