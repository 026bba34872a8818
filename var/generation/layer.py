"""What generation prepares of a block of the transformer: its matrices, and the scales of its attention."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from var.generation.projection import Activation, Projection
from var.transformer.blocks import Block


class Layer(NamedTuple):
    """The constants of one block."""

    qkv: Projection
    qk_scale: Float[Tensor, "2 heads 1"] | None  # of normalised q and k
    fixed_scale: float  # of the softmax
    projection: Projection
    cross: tuple[Projection, ...]  # queries and projection of the attention to a text; empty without
    fc1: Projection  # with its activation
    fc2: Projection

    @classmethod
    def of(cls, block: Block, activation: Activation, dtype: torch.dtype, *, pack: bool) -> "Layer":
        """The constants of `block`, with weights in `dtype`."""
        attention, cross, mlp = block.attention, block.cross, block.mlp
        bias = torch.cat((attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias))
        scale = attention.log_scale
        if scale is not None:
            scale = scale.detach().float().clamp_max(math.log(100)).exp().flatten(1)
            scale = torch.stack((scale, torch.ones_like(scale)))
        return cls(
            qkv=Projection.of(attention.qkv.weight, bias, dtype, pack=pack),
            qk_scale=scale,
            fixed_scale=attention.fixed_scale,
            projection=Projection.of(attention.projection.weight, attention.projection.bias, dtype, pack=pack),
            cross=tuple(
                Projection.of(linear.weight, linear.bias, dtype, pack=pack)
                for linear in ((cross.query, cross.projection) if cross is not None else ())
            ),
            fc1=Projection.of(mlp.fc1.weight, mlp.fc1.bias, dtype, activation=activation, pack=pack),
            fc2=Projection.of(mlp.fc2.weight, mlp.fc2.bias, dtype, pack=pack),
        )

    def projections(self) -> tuple[Projection, ...]:
        """Its matrices."""
        return self.qkv, self.projection, *self.cross, self.fc1, self.fc2
