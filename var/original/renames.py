"""The published checkpoints' names beside ours, as tables: weight conversion is data."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from var.errors import UserError, listed

Table = Sequence[tuple[str, str | None]]
"""Patterns of whole names and what becomes of them; None drops a tensor on purpose."""

VQVAE_TABLE: Table = (
    (r"((?:en|de)coder\.(?:conv_in|norm_out|conv_out)\..+)", r"\1"),
    (r"((?:en|de)coder)\.mid\.block_([12])\.(.+)", r"\1.middle.block\2.\3"),
    (r"((?:en|de)coder)\.mid\.attn_1\.(.+)", r"\1.middle.attention.\2"),
    (r"encoder\.down\.(\d+)\.block\.(\d+)\.(.+)", r"encoder.levels.\1.blocks.\2.\3"),
    (r"encoder\.down\.(\d+)\.attn\.(\d+)\.(.+)", r"encoder.levels.\1.attentions.\2.\3"),
    (r"encoder\.down\.(\d+)\.downsample\.(.+)", r"encoder.downsamples.\1.\2"),
    (r"decoder\.up\.(\d+)\.block\.(\d+)\.(.+)", r"decoder.levels.{\1}.blocks.\2.\3"),
    (r"decoder\.up\.(\d+)\.attn\.(\d+)\.(.+)", r"decoder.levels.{\1}.attentions.\2.\3"),
    (r"decoder\.up\.(\d+)\.upsample\.(.+)", r"decoder.upsamples.{\1}.\2"),
    (r"(quant_conv|post_quant_conv)\.(.+)", r"\1.\2"),
    (r"quantize\.embedding\.weight", "quantizer.codebook.weight"),
    (r"quantize\.ema_vocab_hit_SV", "quantizer.codebook.usage"),
    (r"quantize\.quant_resi\.qresi\.(weight|bias)", r"quantizer.phi.0.\1"),  # one phi for all scales
    (r"quantize\.quant_resi\.qresi_ls\.(\d+)\.(weight|bias)", r"quantizer.phi.\1.\2"),  # a few, shared
    (r"quantize\.quant_resi\.(\d+)\.(weight|bias)", r"quantizer.phi.\1.\2"),  # one for each scale
)
"""`{n}` counts from the other end: the official decoder numbers its levels from the highest resolution."""

TRANSFORMER_TABLE: Table = (
    (r"class_emb\.weight", "class_embedding.weight"),
    (r"pos_start", "start"),
    (r"pos_1LC", "position"),
    (r"lvl_embed\.weight", "scale_embedding.weight"),
    (r"word_embed\.(weight|bias)", r"token_projection.\1"),
    (r"shared_ada_lin\.1\.(weight|bias)", r"shared_adaln.linear.\1"),
    (r"blocks\.(\d+)\.ada_lin\.1\.(weight|bias)", r"blocks.\1.adaln.linear.\2"),
    (r"blocks\.(\d+)\.ada_gss", r"blocks.\1.adaln_offset"),
    (r"blocks\.(\d+)\.attn\.scale_mul_1H11", r"blocks.\1.attention.log_scale"),
    (r"blocks\.(\d+)\.attn\.(q_bias|v_bias)", r"blocks.\1.attention.\2"),
    (r"blocks\.(\d+)\.attn\.mat_qkv\.weight", r"blocks.\1.attention.qkv.weight"),
    (r"blocks\.(\d+)\.attn\.proj\.(weight|bias)", r"blocks.\1.attention.projection.\2"),
    (r"blocks\.(\d+)\.ffn\.(fc[12])\.(weight|bias)", r"blocks.\1.mlp.\2.\3"),
    (r"head_nm\.ada_lin\.1\.(weight|bias)", r"head_adaln.linear.\1"),
    (r"head\.(weight|bias)", r"head.\1"),
    # Buffers that follow from the sides and from the absence of a bias on k; checked, then dropped.
    (r"lvl_1L", None),
    (r"attn_bias_for_masking", None),
    (r"blocks\.(\d+)\.attn\.zero_k_bias", None),
)

LEAVES = {"nin_shortcut": "shortcut", "proj_out": "projection"}
"""Names of layers, wherever in the tokenizer they stand."""

WITHOUT_BATCH_AXIS = ("log_scale", "adaln_offset")
"""Ours have the leading axis of 1 not, which the official ones have."""


def renamed(tensors: Mapping[str, Tensor], table: Table, source: str) -> dict[str, tuple[str, Tensor]]:
    """Our name -> (official name, tensor) of all that `table` keeps; raises `UserError` for a name not in it."""
    levels = 1 + max(
        (int(found[1]) for found in map(re.compile(r"decoder\.up\.(\d+)\.").match, tensors) if found), default=0
    )
    kept: dict[str, tuple[str, Tensor]] = {}
    unknown = []
    for name, tensor in tensors.items():
        rows = ((match, ours) for pattern, ours in table if (match := re.fullmatch(pattern, name)))
        match, replacement = next(rows, (None, None))
        if match is None:
            unknown.append(name)
        if match is None or replacement is None:
            continue
        ours = re.sub(r"\{(\d+)\}", lambda level: str(levels - 1 - int(level[1])), match.expand(replacement))
        ours = ".".join(LEAVES.get(part, part) for part in ours.split("."))
        if ours in kept:
            raise UserError(
                f"{source} must hold each weight once, got {kept[ours][0]!r} and {name!r}; drop one of them"
            )
        if ours.endswith(WITHOUT_BATCH_AXIS) and tensor.ndim == 4 and tensor.shape[0] == 1:
            tensor = tensor[0]
        kept[ours] = name, tensor
    if unknown:
        raise UserError(
            f"{source} must hold official names only, got {listed(unknown, 5)}; give a file of the official code"
        )
    return kept
