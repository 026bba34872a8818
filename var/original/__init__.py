"""Checkpoints of the official code (github.com/FoundationVision/VAR) as our models."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from var.hub.building import Stored, build, usual_types
from var.hub.reading import check_copied
from var.original.inference import transformer_config, vqvae_config
from var.original.reading import TRANSFORMER, VQVAE_PART, Checkpoint, read_part
from var.original.renames import TRANSFORMER_TABLE, VQVAE_TABLE, renamed
from var.original.sides import read_sides
from var.scales import Side
from var.transformer import VAR
from var.vqvae import VQVAE
from var.weights import kinds_of

USAGE = "quantize.ema_vocab_hit_SV"


def load_original(
    vqvae: Checkpoint,
    transformer: Checkpoint,
    *,
    num_heads: int | None = None,
    normalize_codes: bool = False,
    sides: Sequence[Side] | None = None,
    dtype: torch.dtype | None = torch.float32,
    progress: bool = False,
) -> tuple[VQVAE, VAR]:
    """Both models of official checkpoints, in eval mode; see `VARPipeline.from_original`.

    `dtype` None is that of the files.
    """
    with usual_types():
        source, tensors = read_part(transformer, TRANSFORMER)
        sides = read_sides(tensors, sides, source)
        theirs = transformer_config(tensors, sides, num_heads=num_heads, source=source)
        second = VAR, theirs, renamed(tensors, TRANSFORMER_TABLE, source), source
        models: Any = _loaded([_vqvae_part(vqvae, sides, normalize_codes), second], dtype, progress)
        return tuple(models)


def load_original_vqvae(vqvae: Checkpoint, *, sides: Sequence[Side]) -> VQVAE:
    """The tokenizer of an official checkpoint alone, in eval mode; its file does not tell the `sides`."""
    with usual_types():
        (model,) = _loaded([_vqvae_part(vqvae, sides, normalize_codes=False)], torch.float32, progress=False)
    assert isinstance(model, VQVAE)
    return model


Part = tuple[type[nn.Module], Any, Mapping[str, tuple[str, Tensor]], str]
"""A model's class, its config, its weights under our names with the names found, and what messages call the file."""


def _vqvae_part(vqvae: Checkpoint, sides: Sequence[Side], normalize_codes: bool) -> Part:
    source, tensors = read_part(vqvae, VQVAE_PART)
    config = vqvae_config(tensors, sides, normalize_codes=normalize_codes, source=source)
    # As in the official code, statistics of another number of scales (the 512 px models have the tokenizer of 256 px,
    # but other sides) start afresh. Nothing but training reads them.
    usage = tensors.get(USAGE)
    if usage is None or (usage.ndim == 2 and usage.shape[0] != len(sides)):
        fresh = tensors["quantize.embedding.weight"].new_zeros(len(sides), config.vocabulary)
        tensors = {**tensors, USAGE: fresh}
    return VQVAE, config, renamed(tensors, VQVAE_TABLE, source), source


def _loaded(parts: Sequence[Part], dtype: torch.dtype | None, progress: bool) -> list[nn.Module]:
    empty = [_compared(*part) for part in parts]  # all is compared before anything is copied
    bar = tqdm(total=sum(len(part[2]) for part in parts), desc="weights", leave=False, disable=not progress)
    with bar:
        for model, (_, _, found, source) in zip(empty, parts, strict=True):
            copies = {}
            for ours, (name, tensor) in found.items():
                place = tensor.device if tensor.is_meta else "cpu"
                kind = dtype if tensor.is_floating_point() else None
                # Copies even on the CPU, because a file's tensors are only mapped into memory.
                copy = tensor.detach().to(place, kind, copy=True, memory_format=torch.contiguous_format)
                check_copied(copy, tensor, source, name)
                copies[ours] = copy
                bar.update()
            model.load_state_dict(copies, assign=True)
    return [model.eval() for model in empty]


def _compared(
    model_class: type[nn.Module], config: Any, found: Mapping[str, tuple[str, Tensor]], source: str
) -> nn.Module:
    """The model without weights, after the names, shapes and kinds of all have been compared with those found."""
    stored = Stored(
        kinds=kinds_of({ours: tensor for ours, (_, tensor) in found.items()}),
        rule=f"{source} must hold exactly the weights of one official {model_class.__name__}",
        remedy="give an unchanged official file",
        called={ours: name for ours, (name, _) in found.items()},
    )
    return build(model_class, config, stored)
