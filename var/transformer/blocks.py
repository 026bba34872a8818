"""Attention, modulation and the block of the next-scale transformer."""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from var.conditions import Text
from var.dropout import Dropout
from var.linear import Linear, linear
from var.transformer.config import VARConfig

FEW_KEYS, MANY_HEADS = 100, 256
"""On a CPU, for up to so many keys and beyond so many (image, head) pairs, plain operators beat fused attention, which
has a fixed cost per pair: 3 times at 30 keys, by a third at 100, not at 256. They are three operators for one."""

ACTIVATIONS = {"gelu": nn.GELU, "gelu_tanh": partial(nn.GELU, approximate="tanh")}


class Modulation(NamedTuple):
    """What the condition does to a block: gates, scales and shifts of attention (1) and MLP (2), (batch, 1, width)."""

    gamma1: Float[Tensor, "batch 1 width"]
    gamma2: Float[Tensor, "batch 1 width"]
    scale1: Float[Tensor, "batch 1 width"]
    scale2: Float[Tensor, "batch 1 width"]
    shift1: Float[Tensor, "batch 1 width"]
    shift2: Float[Tensor, "batch 1 width"]


def modulated_norm(
    x: Float[Tensor, "batch length width"], scale: Float[Tensor, "batch 1 width"], shift: Float[Tensor, "batch 1 width"]
) -> Float[Tensor, "batch length width"]:
    """LayerNorm without weights of its own, then (1 + scale) and shift from the condition (AdaLN)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), scale + 1)


def attend(
    q: Float[Tensor, "batch heads new c"],
    k: Float[Tensor, "batch heads length c"],
    v: Float[Tensor, "batch heads length c"],
    mask: Bool[Tensor, "*batch_1 new length"] | None,
    scale: float,
) -> Float[Tensor, "batch heads new c"]:
    """Softmax attention of `new` queries over `length` keys, where `mask` (if given) is True."""
    few = k.shape[2] <= FEW_KEYS and q.shape[0] * q.shape[1] > MANY_HEADS
    if mask is None and few and q.device.type == "cpu":
        return (q * scale @ k.mT).softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


class AdaLN(nn.Module):
    """SiLU and a linear layer from the condition to `parts` vectors of the model's width."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = Linear(width, parts * width)

    def forward(self, condition: Float[Tensor, "batch width"]) -> Float[Tensor, "batch parts width"]:
        """The vectors of a condition."""
        return self.linear(F.silu(condition)).unflatten(1, (self.parts, -1))


class Attention(nn.Module):
    """Multi-head self-attention; biases on q and v only; optionally L2-normalised q and k."""

    def __init__(self, config: VARConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        # Log of the softmax scale per head; without normalisation the scale is fixed.
        self.log_scale = nn.Parameter(torch.full((config.heads, 1, 1), math.log(4))) if config.l2_attention else None
        self.fixed_scale = 1.0 if config.l2_attention else 0.25 / math.sqrt(config.head_width)
        self.projection = Linear(config.width, config.width)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch length width"], mask: Bool[Tensor, "*batch_1 length length"]
    ) -> Float[Tensor, "batch length width"]:
        """Attend over `x` where `mask` allows it."""
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        # An adapter that was put around the layer is no linear layer, and must be called.
        plain = isinstance(self.qkv, nn.Linear)
        qkv = linear(x, self.qkv.weight, bias) if plain else self.qkv(x) + bias
        q, k, v = rearrange(qkv, "b l (three h c) -> three b h l c", three=3, h=self.heads)
        if self.log_scale is not None:
            q = F.normalize(q, dim=-1) * self.log_scale.clamp_max(math.log(100)).exp()
            k = F.normalize(k, dim=-1)
        hidden = attend(q, k, v, mask, self.fixed_scale)
        return self.dropout(self.projection(rearrange(hidden, "b h l c -> b l (h c)")))


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: VARConfig) -> None:
        super().__init__()
        hidden = round(config.mlp_ratio * config.width)
        self.fc1 = Linear(config.width, hidden)
        self.act = ACTIVATIONS[config.activation]()
        self.drop1 = Dropout(config.dropout)
        self.fc2 = Linear(hidden, config.width)
        self.drop2 = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        """The same at every position."""
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training, a branch is left out of an image, with probability `drop_prob`.

    What is kept grows by as much as is lost on average.
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        """The branch, or zeros."""
        if not self.training:
            return x
        keep = 1 - self.drop_prob
        return x * x.new_empty(len(x), 1, 1).bernoulli_(keep).div_(keep)


class KeysValues(NamedTuple):
    """A text as the cross-attention of one block has it."""

    keys: Float[Tensor, "batch heads keys c"]
    values: Float[Tensor, "batch heads keys c"]
    mask: Bool[Tensor, "batch 1 1 keys"]


class CrossAttention(nn.Module):
    """Multi-head attention to the features of a text, as between self-attention and MLP in Infinity and Switti.

    (arXiv 2412.04431, 2412.01819.) Its norm has no weights, for which the layer after it stands; what it adds is zero
    at the start of training.
    """

    def __init__(self, config: VARConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = Linear(config.width, config.width)
        self.key_value = Linear(config.sequence_width, 2 * config.width)
        self.projection = Linear(config.width, config.width)
        self.dropout = Dropout(config.dropout)

    def keys_values(self, text: Text) -> KeysValues:
        """Keys and values of a text, the same for all positions."""
        k, v = rearrange(self.key_value(text.features), "b l (two h c) -> two b h l c", two=2, h=self.heads)
        return KeysValues(k, v, text.mask)

    def forward(self, x: Float[Tensor, "batch length width"], text: KeysValues) -> Float[Tensor, "batch length width"]:
        """What each position takes from the text."""
        q = rearrange(self.query(F.layer_norm(x, x.shape[-1:], eps=1e-6)), "b l (h c) -> b h l c", h=self.heads)
        hidden = F.scaled_dot_product_attention(q, text.keys, text.values, attn_mask=text.mask)
        return self.dropout(self.projection(rearrange(hidden, "b h l c -> b l (h c)")))


class Block(nn.Module):
    """Attention and MLP, both gated and normalised under the condition; between them attention to a text, if any."""

    forward_methods = ("modulation", "keys_values")  # what is computed with the weights outside `forward`

    def __init__(self, config: VARConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.cross = CrossAttention(config) if config.sequence_width else None
        self.mlp = Mlp(config)
        drop_path = config.drop_path * layer / max(config.depth - 1, 1)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        if config.shared_adaln:
            self.adaln = None
            self.adaln_offset = nn.Parameter(torch.zeros(1, 6, config.width))
        else:
            self.adaln = AdaLN(config.width, 6)
            self.adaln_offset = None

    def modulation(self, condition: Tensor, shared: Tensor | None) -> Modulation:
        """The block's modulation under a condition (batch, width), or from the shared one (batch, 6, width)."""
        if self.adaln is not None:
            parts = self.adaln(condition)
        else:
            assert shared is not None
            assert self.adaln_offset is not None
            parts = shared + self.adaln_offset
        return Modulation(*parts.split(1, dim=1))

    def keys_values(self, text: Text | None) -> KeysValues | None:
        """What the block's cross-attention computes of a text alone."""
        return None if self.cross is None or text is None else self.cross.keys_values(text)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        modulation: Modulation,
        text: KeysValues | None,
        mask: Bool[Tensor, "*batch_1 length length"],
    ) -> Float[Tensor, "batch length width"]:
        """Attend where `mask` allows it, and to the text; then the MLP."""
        m = modulation
        hidden = self.attention(modulated_norm(x, m.scale1, m.shift1), mask)
        x = x + self.drop_path(hidden * m.gamma1)
        if self.cross is not None and text is not None:
            x = x + self.drop_path(self.cross(x, text))
        hidden = self.mlp(modulated_norm(x, m.scale2, m.shift2))
        return x + self.drop_path(hidden * m.gamma2)
