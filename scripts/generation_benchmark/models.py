"""The models that are timed: random weights of the published shapes, the same ones in our code and in the official."""

import contextlib
import importlib
import io
import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from var import VAR, VQVAE, VARConfig, VARPipeline, VQVAEConfig
from var.errors import UserError
from var.randomness import keyed_generator, keyed_global_stream


@dataclass(frozen=True, slots=True)
class Models:
    """Our pipeline, and the official pair with the same weights if there is a checkout of it."""

    pipeline: VARPipeline
    official: tuple[Any, Any] | None  # its tokenizer and transformer


def build(depth: int, official: Path | None, device: str) -> Models:
    """Models of the published 256 px shapes with random weights, whose likeliest tokens stand out."""
    if official is None:
        with keyed_global_stream("benchmark", depth):
            config = VARConfig(depth=depth, width=64 * depth, heads=depth)
            pipeline = VARPipeline(VQVAE(VQVAEConfig()), VAR(config))
        head = pipeline.transformer.head
        assert isinstance(head, nn.Linear)
        _spread(head, pipeline.transformer.class_embedding)
        return Models(pipeline.to(device), None)
    pair = _official_pair(official, depth, device)
    _initialize(pair[0])  # the official code leaves its tokenizer's memory as it was
    _spread(pair[1].head, pair[1].class_emb)
    pipeline = VARPipeline.from_original(pair[0].state_dict(), pair[1].state_dict(), device=device)
    return Models(pipeline, pair)


def _spread(head: nn.Linear, class_embedding: nn.Embedding) -> None:
    """Logits as far apart as a trained model's: else rounding decides between tokens."""
    generator = keyed_generator("benchmark head")
    with torch.no_grad():
        for weight, std in ((head.weight, 4 / math.sqrt(head.in_features)), (class_embedding.weight, 0.5)):
            weight.copy_(torch.randn(weight.shape, generator=generator) * std)


@torch.no_grad()
def _initialize(vqvae: nn.Module) -> None:
    generator = keyed_generator("benchmark tokenizer")
    for name, weight in vqvae.named_parameters():
        noise = torch.randn(weight.shape, generator=generator).to(weight.device)
        if weight.ndim > 1:
            weight.copy_(noise / (1 if "embedding" in name else math.sqrt(weight[0].numel())))
        else:
            weight.copy_(0.05 * noise + (1 if "norm" in name and name.endswith("weight") else 0))


def _official_pair(path: Path, depth: int, device: str) -> tuple[Any, Any]:
    if not (path / "models" / "var.py").is_file():
        raise UserError(
            f"--official must be a checkout of the official code, with models/var.py, got {path}; name its root"
        )
    sys.path.insert(0, str(path.resolve()))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build_pair = importlib.import_module("models").build_vae_var
        with keyed_global_stream("benchmark", depth):
            pair = build_pair(
                device=device,
                patch_nums=(1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
                V=4096,
                Cvae=32,
                ch=160,
                share_quant_resi=4,
                num_classes=1000,
                depth=depth,
                shared_aln=False,
            )
    return pair[0].eval(), pair[1].eval()
