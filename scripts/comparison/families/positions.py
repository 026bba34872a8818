"""A map of tokens as a sequence: to generation, every position is a scale of one token, whose input is the code before.

So the transformer, its training, its guidance and its generation with a KV cache are next-scale's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.randomness import keyed_global_stream
from var.recipes.transformer.settings import TransformerRun
from var.scales import ScaleSchedule, Side
from var.tokenizer import Tokenizer
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE, VQVAEConfig


class Positions(ScaleSchedule):
    """As many scales of one token as there are sides; they need not grow."""

    __slots__ = ()

    def __post_init__(self) -> None:
        assert set(self.sides) == {1}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig(VARConfig):
    """A transformer over positions."""

    @property
    def schedule(self) -> ScaleSchedule:
        """The positions."""
        return Positions(tuple(self.sides))


class SequenceTransformer(VAR):
    """Causal, since every token is a scale of its own."""

    config_class = SequenceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRun(TransformerRun):
    """The training of a transformer over positions."""

    transformer: SequenceConfig = field(default_factory=lambda: SequenceConfig(sides=(1,)))

    def model(self, *, seed: int = 0) -> VAR:
        """The untrained transformer; its weights depend on `seed` only."""
        with keyed_global_stream("transformer", seed):
            return SequenceTransformer(self.transformer)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTokenizerConfig(VQVAEConfig):
    """A VQVAE of one map; `sides` are its positions in raster order."""

    grid: Side  # of the map

    @classmethod
    def of(cls, config: VQVAEConfig) -> "SequenceTokenizerConfig":
        """Of a VQVAE of one map."""
        (grid,), count = config.sides, config.schedule.length
        return cls(**_with_sides(config, (1,) * count), grid=grid)

    @property
    def single(self) -> VQVAEConfig:
        """The config of the VQVAE."""
        return VQVAEConfig(**_with_sides(self, (self.grid,)))

    @property
    def schedule(self) -> ScaleSchedule:
        """The positions."""
        return Positions(tuple(self.sides))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.single.image_size


def _with_sides(config: VQVAEConfig, sides: tuple[Side, ...]) -> dict[str, Any]:
    return {one.name: getattr(config, one.name) for one in fields(VQVAEConfig)} | {"sides": sides}


class SequenceTokenizer(Tokenizer):
    """A VQVAE of one map as transformers see it: one token after the other, row by row."""

    config_class = SequenceTokenizerConfig
    config: SequenceTokenizerConfig

    @torch.inference_mode(False)  # its weights may enter autograd, wherever it is built
    def __init__(self, config: SequenceTokenizerConfig) -> None:
        super().__init__()
        self.config, self.vqvae = config, VQVAE(config.single)

    @classmethod
    def of(cls, vqvae: VQVAE) -> "SequenceTokenizer":
        """With the weights of a trained VQVAE."""
        made = cls(SequenceTokenizerConfig.of(vqvae.config))
        made.vqvae.load_state_dict(vqvae.state_dict())
        return made.eval()

    def latent(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """As the VQVAE has it."""
        return self.vqvae.latent(images)

    def encode(
        self, images: Float[Tensor, "batch c h w"], *, temperature: float = 0, generator: torch.Generator | None = None
    ) -> list[Int64[Tensor, "batch _h _w"]]:
        """The tokens of the map."""
        (tokens,) = self.vqvae.encode(images, temperature=temperature, generator=generator)
        return [token[:, None, None] for token in tokens.flatten(1).unbind(1)]

    def decoding(self) -> Sequence[nn.Module]:
        """As the VQVAE has it."""
        return self.vqvae.decoding()

    def codes(self, scale: int) -> Float[Tensor, "vocabulary width"]:
        """The codebook."""
        return self.vqvae.codes(0)

    def expand(self, codes: Float[Tensor, "batch width _h _w"], scale: int) -> Float[Tensor, "batch width h w"]:
        """The code at its place, and nothing elsewhere."""
        height, width = self.vqvae.config.schedule.shapes[0]
        latent = codes.new_zeros(*codes.shape[:2], height * width)
        latent[:, :, scale] = codes[:, :, 0, 0]
        return latent.unflatten(2, (height, width))

    def shrink(self, latent: Float[Tensor, "batch width h w"], scale: int) -> Float[Tensor, "batch width _h _w"]:
        """The code before."""
        return latent.flatten(2)[:, :, scale - 1, None, None]
