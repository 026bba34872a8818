"""Checkpoints in the layout of the official code, for any options, with the weights of the parity cases' formula."""

import json
import math

import numpy as np
import torch
from torch import Tensor

MULTIPLIERS = (1, 1, 2, 2, 4)


def vqvae_shapes(*, sides, code_width, vocabulary, phi, base=32):
    """Shape of every tensor of an official tokenizer; `phi` is "one", "each" or the number that the scales share."""
    shapes = {}
    for side, extra in (("encoder", 0), ("decoder", 1)):
        shapes |= _trunk(side, base, 2 + extra, code_width)
    shapes |= {
        "quantize.embedding.weight": [vocabulary, code_width],
        "quantize.ema_vocab_hit_SV": [len(sides), vocabulary],
    }
    count = {"one": 1, "each": len(sides)}.get(phi, phi)
    prefix = {"one": "qresi", "each": "{}"}.get(phi, "qresi_ls.{}")
    for conv in ["quant_conv", "post_quant_conv"] + [f"quantize.quant_resi.{prefix}".format(i) for i in range(count)]:
        shapes |= _conv(conv, code_width, code_width, 3)
    return shapes


def transformer_shapes(
    *,
    sides,
    code_width,
    vocabulary,
    width,
    depth,
    heads,
    num_classes=10,
    mlp_ratio=4,
    l2_attention=True,
    shared_adaln=False,
):
    """Shape of every tensor of an official transformer, buffers too."""
    length = sum(side**2 for side in sides)
    shapes = {
        "pos_start": [1, sides[0] ** 2, width],
        "pos_1LC": [1, length, width],
        "lvl_1L": [1, length],
        "attn_bias_for_masking": [1, 1, length, length],
        "class_emb.weight": [num_classes + 1, width],
        "lvl_embed.weight": [len(sides), width],
        **_linear("word_embed", code_width, width),
    }
    if shared_adaln:
        shapes |= _linear("shared_ada_lin.1", width, 6 * width)
    for i in range(depth):
        block = f"blocks.{i}"
        shapes |= {f"{block}.attn.{name}": [width] for name in ("q_bias", "v_bias", "zero_k_bias")}
        shapes[f"{block}.attn.mat_qkv.weight"] = [3 * width, width]
        shapes |= _linear(f"{block}.attn.proj", width, width)
        hidden = round(mlp_ratio * width)
        shapes |= _linear(f"{block}.ffn.fc1", width, hidden) | _linear(f"{block}.ffn.fc2", hidden, width)
        if l2_attention:
            shapes[f"{block}.attn.scale_mul_1H11"] = [1, heads, 1, 1]
        if shared_adaln:
            shapes[f"{block}.ada_gss"] = [1, 1, 6, width]
        else:
            shapes |= _linear(f"{block}.ada_lin.1", width, 6 * width)
    return shapes | _linear("head_nm.ada_lin.1", width, 2 * width) | _linear("head", width, vocabulary)


def official_pair(seed, *, sides, code_width=4, vocabulary=32, phi=4, **transformer):
    """State dicts of a tokenizer and a transformer of the official code, made by formula."""
    shared = {"sides": sides, "code_width": code_width, "vocabulary": vocabulary}
    weights = by_formula(vqvae_shapes(**shared, phi=phi), seed)
    return weights, by_formula(transformer_shapes(**shared, **transformer), seed + 1, sides)


def by_formula(shapes, seed, sides=()):
    """Weights by formula in the order of their names, and the buffers that official files carry."""
    filled = sorted(name for name in shapes if not is_buffer(name))
    return {**weights_by_formula(shapes, filled, seed), **buffers(shapes, sides)}


def is_buffer(name):
    return name.endswith(("lvl_1L", "attn_bias_for_masking", "zero_k_bias", "ema_vocab_hit_SV"))


def buffers(shapes, sides):
    """What official files hold besides parameters."""
    found = {name: torch.zeros(shape) for name, shape in shapes.items() if is_buffer(name)}
    if "lvl_1L" in found:
        index = torch.cat([torch.full((side**2,), scale) for scale, side in enumerate(sides)])
        found["lvl_1L"] = index[None]
        mask = torch.zeros(len(index), len(index)).masked_fill(index[:, None] < index, -math.inf)
        found["attn_bias_for_masking"] = mask[None, None]
    return found


def shared_case(folder, name):
    """A case of the parity folder: its settings, and its two official state dicts."""
    case = json.loads((folder / f"{name}.json").read_text())
    pair = []
    for part, seed in (("vae", case["seed"]), ("var", case["seed"] + 1)):
        shapes, filled = case[f"{part}_keys"], case[f"{part}_filled"]
        weights = weights_by_formula(shapes, filled, seed)
        total = sum(float(weight.double().abs().sum()) for weight in weights.values())
        assert math.isclose(total, case[f"{part}_checksum"], rel_tol=1e-6)
        pair.append(weights | buffers(shapes, case["vae"]["v_patch_nums"]))
    return case, *pair


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


def _linear(name, width_in, width_out):
    return {f"{name}.weight": [width_out, width_in], f"{name}.bias": [width_out]}


def _conv(name, channels_in, channels_out, size):
    return {f"{name}.weight": [channels_out, channels_in, size, size], f"{name}.bias": [channels_out]}


def _norm(name, channels):
    return {f"{name}.weight": [channels], f"{name}.bias": [channels]}


def _residual(name, channels_in, channels_out):
    shapes = _norm(f"{name}.norm1", channels_in) | _conv(f"{name}.conv1", channels_in, channels_out, 3)
    shapes |= _norm(f"{name}.norm2", channels_out) | _conv(f"{name}.conv2", channels_out, channels_out, 3)
    return (
        shapes if channels_in == channels_out else shapes | _conv(f"{name}.nin_shortcut", channels_in, channels_out, 1)
    )


def _attention(name, channels):
    shapes = _norm(f"{name}.norm", channels) | _conv(f"{name}.qkv", channels, 3 * channels, 1)
    return shapes | _conv(f"{name}.proj_out", channels, channels, 1)


def _trunk(side, base, blocks, latent_width):
    """Encoder or decoder: the levels are numbered from the highest resolution in both."""
    channels = [base * multiplier for multiplier in MULTIPLIERS]
    encoder, last = side == "encoder", len(channels) - 1
    first, final = (3, base), (channels[-1], latent_width)
    ends = (first, final) if encoder else (final[::-1], first[::-1])
    shapes = _conv(f"{side}.conv_in", *ends[0], 3) | _conv(f"{side}.conv_out", *ends[1], 3)
    shapes |= _norm(f"{side}.norm_out", ends[1][0])
    for block in ("block_1", "block_2"):
        shapes |= _residual(f"{side}.mid.{block}", channels[-1], channels[-1])
    shapes |= _attention(f"{side}.mid.attn_1", channels[-1])
    for level, width in enumerate(channels):
        before = [base, *channels][level] if encoder else [*channels, channels[-1]][level + 1]
        name = f"{side}.{'down' if encoder else 'up'}.{level}"
        for block in range(blocks):
            shapes |= _residual(f"{name}.block.{block}", width if block else before, width)
            if level == last:
                shapes |= _attention(f"{name}.attn.{block}", width)
        if level != (last if encoder else 0):
            shapes |= _conv(f"{name}.{'downsample' if encoder else 'upsample'}.conv", width, width, 3)
    return shapes
