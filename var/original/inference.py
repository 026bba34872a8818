"""The configurations of published checkpoints, read off the shapes of their tensors."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from var.configs import config_from_dict
from var.errors import UserError
from var.scales import Side
from var.transformer import VARConfig
from var.vqvae import VQVAEConfig

HEAD_WIDTH = 64
"""Width of a head in all models that the official code builds by depth: heads = depth, width = 64 depth."""


def vqvae_config(
    tensors: Mapping[str, Tensor], sides: Sequence[Side], *, normalize_codes: bool, source: str
) -> VQVAEConfig:
    """The configuration of an official tokenizer; `sides` and `normalize_codes` do not stand in its file."""
    shape = Shapes(tensors, source)
    stem = shape("encoder.conv_in.weight", 4)
    levels = shape.count(r"encoder\.down\.(\d+)\.")
    widths = [shape(f"encoder.down.{level}.block.0.conv1.weight", 4)[0] for level in range(levels)]
    odd = [width for width in widths if width % stem[0]]
    if odd:
        raise UserError(
            f"{source}: channels must be multiples of the first layer's {stem[0]}, got {odd[0]}; give an official file"
        )
    vocabulary, width = shape("quantize.embedding.weight", 2)
    values = {
        "sides": tuple(sides),
        "in_channels": stem[1],
        "base_channels": stem[0],
        "channel_multipliers": tuple(width // stem[0] for width in widths),
        "residual_blocks": shape.count(r"encoder\.down\.0\.block\.(\d+)\."),
        "attention": "encoder.mid.attn_1.qkv.weight" in tensors,
        "width": width,
        "vocabulary": vocabulary,
        "phi": _phi(shape, len(sides), source),
        "normalize_codes": normalize_codes,
    }
    return config_from_dict(VQVAEConfig, values, source)


def transformer_config(
    tensors: Mapping[str, Tensor], sides: Sequence[Side], *, num_heads: int | None, source: str
) -> VARConfig:
    """The configuration of an official transformer with these `sides`; `num_heads` must agree where the file tells."""
    shape = Shapes(tensors, source)
    width, code_width = shape("word_embed.weight", 2)
    depth = shape.count(r"blocks\.(\d+)\.")
    scales = "blocks.0.attn.scale_mul_1H11"
    l2_attention = scales in tensors
    heads = shape(scales, 4)[1] if l2_attention else _heads_of_width(width, depth, num_heads, source)
    if num_heads is not None and num_heads != heads:
        raise UserError(f"{source} has {heads} heads by its scale per head, got num_heads={num_heads}; leave it out")
    values = {
        "sides": tuple(sides),
        "vocabulary": shape("head.weight", 2)[0],
        "code_width": code_width,
        "num_classes": shape("class_emb.weight", 2)[0] - 1,
        "depth": depth,
        "width": width,
        "heads": heads,
        "mlp_ratio": shape("blocks.0.ffn.fc1.weight", 2)[0] / width,
        "l2_attention": l2_attention,
        "shared_adaln": "shared_ada_lin.1.weight" in tensors,
    }
    return config_from_dict(VARConfig, values, source)


class Shapes:
    """The shapes of tensors by name; raises `UserError` for one that is missing, empty or of another rank."""

    def __init__(self, tensors: Mapping[str, Tensor], source: str) -> None:
        self.tensors = tensors
        self.source = source

    def __call__(self, name: str, rank: int) -> tuple[int, ...]:
        """Shape of the tensor `name`, which must have `rank` axes."""
        if name not in self.tensors:
            raise UserError(f"{self.source} must hold {name}, which is missing; give an official file, whole")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != rank or not all(shape):
            raise UserError(f"{self.source}: {name} must have {rank} axes, none of them empty, got shape {shape}")
        return shape

    def count(self, pattern: str) -> int:
        """One more than the highest number that stands in the names where `pattern` has its group; 0 if none does."""
        numbers = (re.match(pattern, name) for name in self.tensors)
        highest = max((int(number[1]) for number in numbers if number), default=-1)
        if highest >= len(self.tensors):  # a made-up number must not become a model of that size
            raise UserError(f"{self.source} counts to {highest} with {len(self.tensors)} tensors; give a whole file")
        return highest + 1


def _heads_of_width(width: int, depth: int, num_heads: int | None, source: str) -> int:
    """Heads where no tensor tells: as given, or by the rule of the official builder where width and depth obey it."""
    if num_heads is not None:
        if num_heads < 1 or width % num_heads:
            raise UserError(f"{source}: num_heads must divide the width {width}, got {num_heads}; correct it")
        return num_heads
    if width == HEAD_WIDTH * depth:
        return depth
    raise UserError(
        f"{source} does not tell its heads: it has no scale per head, and width {width} is not {HEAD_WIDTH} times "
        f"depth {depth}; pass num_heads"
    )


def _phi(shape: Shapes, scales: int, source: str) -> int | Literal["per-scale"]:
    """Number of phi, or "per-scale", by where they stand: `qresi` is one, `qresi_ls.N` a few, `N` one per scale."""
    prefix = r"quantize\.quant_resi\."
    found: dict[str, int] = {
        "one": int(any(name.startswith("quantize.quant_resi.qresi.") for name in shape.tensors)),
        "few": shape.count(prefix + r"qresi_ls\.(\d+)\."),
        "each": shape.count(prefix + r"(\d+)\."),
    }
    kinds = [kind for kind, number in found.items() if number]
    if len(kinds) != 1:
        layouts = " and ".join(kinds) or "none"
        raise UserError(f"{source} must hold phi in one of the three layouts, got {layouts}; give an official file")
    number = found[kinds[0]]
    return "per-scale" if kinds[0] == "each" and number == scales else number
