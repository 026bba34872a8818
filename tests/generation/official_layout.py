"""The published key names beside ours, and the formula that makes the weights of the parity cases."""

import math
import re

import numpy as np
import torch
from torch import Tensor

VQVAE_RENAMES = (
    (r"^(en|de)coder\.mid\.block_(\d)", r"\1coder.middle.block\2"),
    (r"^(en|de)coder\.mid\.attn_1", r"\1coder.middle.attention"),
    (r"^encoder\.down\.(\d+)\.downsample", r"encoder.downsamples.\1"),
    (r"^encoder\.down\.(\d+)", r"encoder.levels.\1"),
    (r"^decoder\.up\.(\d+)\.upsample", r"decoder.upsamples.{\1}"),
    (r"^decoder\.up\.(\d+)", r"decoder.levels.{\1}"),
    (r"\.block\.(\d)", r".blocks.\1"),
    (r"\.attn\.(\d)", r".attentions.\1"),
    (r"proj_out", "projection"),
    (r"nin_shortcut", "shortcut"),
    (r"^quantize\.embedding\.weight", "quantizer.codebook.weight"),
    (r"^quantize\.ema_vocab_hit_SV", "quantizer.codebook.usage"),
    (r"^quantize\.quant_resi\.qresi_ls", "quantizer.phi"),
)

TRANSFORMER_RENAMES = (
    (r"^class_emb\.", "class_embedding."),
    (r"^pos_start", "start"),
    (r"^pos_1LC", "position"),
    (r"^lvl_embed\.", "scale_embedding."),
    (r"^word_embed\.", "token_projection."),
    (r"^head_nm\.ada_lin\.1", "head_adaln.linear"),
    (r"^shared_ada_lin\.1", "shared_adaln.linear"),
    (r"\.ada_lin\.1", ".adaln.linear"),
    (r"\.ada_gss", ".adaln_offset"),
    (r"\.attn\.scale_mul_1H11", ".attention.log_scale"),
    (r"\.attn\.mat_qkv", ".attention.qkv"),
    (r"\.attn\.proj", ".attention.projection"),
    (r"\.attn\.", ".attention."),
    (r"\.ffn\.", ".mlp."),
)

BUFFERS = ("lvl_1L", "attn_bias_for_masking", "zero_k_bias")


def rename(name: str, table: tuple[tuple[str, str], ...], levels: int = 0) -> str:
    """Our name of an official tensor. The official decoder counts its levels from the highest resolution."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"\{(\d+)\}", lambda match: str(levels - 1 - int(match[1])), name)


def convert_vqvae(tensors: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    return {rename(name, VQVAE_RENAMES, levels): tensor for name, tensor in tensors.items()}


def convert_transformer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    converted = {
        rename(name, TRANSFORMER_RENAMES): tensor for name, tensor in tensors.items() if not name.endswith(BUFFERS)
    }
    return {
        name: tensor[0] if name.endswith(("log_scale", "adaln_offset")) else tensor
        for name, tensor in converted.items()
    }


def weights_by_formula(shapes: dict[str, list[int]], filled: list[str], seed: int) -> dict[str, Tensor]:
    """The weights of a parity case (the formula stands in the README of the cases)."""
    stream = np.random.RandomState(seed)
    weights = {}
    for name in filled:
        std, mean = _spread(name, shapes[name])
        values = mean + std * stream.standard_normal(shapes[name])
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


def _spread(name: str, shape: list[int]) -> tuple[float, float]:
    if name.endswith("norm.weight") or any(
        part in name for part in (".norm1.weight", ".norm2.weight", "norm_out.weight")
    ):
        return 0.1, 1.0
    if name.endswith("scale_mul_1H11"):
        return 0.1, math.log(4)
    if name.endswith("bias"):
        return 0.05, 0.0
    if "embedding.weight" in name:
        return 1.0, 0.0
    if any(part in name for part in ("class_emb", "pos_", "lvl_embed")):
        return 0.5, 0.0
    if name.endswith("ada_gss"):
        return 0.3, 0.0
    if name == "head.weight":
        return 4 / math.sqrt(shape[1]), 0.0
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else shape[0]
    return 1 / math.sqrt(fan_in), 0.0
