"""Low-rank additions to the layers of a model (LoRA, Hu et al. 2021, arXiv 2106.09685), in the files of PEFT."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from var.configs import to_json
from var.errors import UserError, listed
from var.files import atomic_file, atomic_text
from var.foreign.documents import read_json, taken
from var.foreign.weights import Kind, is_finite, not_finite, opened_tensors, save_tensors
from var.hub.layout import LORA_CONFIG, LORA_WEIGHTS, MOST_CONFIG
from var.hub.writing import new_folder
from var.linear import Linear
from var.weights import LISTED, check_fit

LARGEST_RANK = 2**16
ROOT = "base_model.model."  # before the name of a layer
_NAME = re.compile(rf"{re.escape(ROOT)}(?P<layer>.+)\.lora_[AB]\.weight")
_READ = ("peft_type", "r", "lora_alpha", "use_rslora", "init_lora_weights")
_TOLD = (
    *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout"),
    *("megatron_core", "qalora_group_size"),
)
"""Settings that change nothing in what trained matrices compute: these say themselves of which layers they are."""
_NOTHING = (None, False, {}, [], "none")
"""What other settings say where they are not used."""
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Of the matrices; other ones change the weights of the model too."""


@dataclass(frozen=True, slots=True)
class Lora:
    """W + scale B A for the weights W of some layers."""

    config: Mapping[str, Any]  # PEFT's, fit for JSON
    matrices: Mapping[str, tuple[Tensor, Tensor]]  # A (rank, in) and B (out, rank) by the layer's name; of a
    # convolution A (rank, in, height, width) and B (out, rank, 1, 1)

    @torch.no_grad()
    def merge(self, model: nn.Module, strength: float) -> dict[str, Tensor]:
        """Add it, `strength` times, to the weights of `model`; the result is what these were, by the layers' names.

        Raises `UserError`, and leaves all as it was, where what comes out is not finite.
        """
        before: dict[str, Tensor] = {}
        for name, (down, up) in self.matrices.items():
            weight: Any = model.get_submodule(name).weight
            before[name] = weight.detach().clone()
            product = (up.flatten(1).double() @ down.flatten(1).double()).view(weight.shape)
            weight.copy_(weight.double() + strength * scale_of(self.config) * product.to(weight.device))
            if not is_finite(weight):
                restore(model, before)
                raise UserError(f"weights with a LoRA must be finite, got a scale of {strength} for {name}; lower it")
        return before

    def save(self, folder: Path) -> None:
        """Write it as PEFT does; raises `UserError` if the place cannot be written."""
        tensors = {
            f"{ROOT}{name}.lora_{letter}.weight": matrix
            for name, pair in self.matrices.items()
            for letter, matrix in zip("AB", pair, strict=True)
        }
        for name, tensor in tensors.items():
            if not is_finite(tensor):
                raise not_finite("the LoRA", name)
        with (
            new_folder(folder),
            atomic_text(folder / LORA_CONFIG, to_json({**self.config, "inference_mode": True})),
            atomic_file(folder / LORA_WEIGHTS) as weights,
        ):
            save_tensors(weights, tensors)


def read_lora(folder: Path, model: nn.Module) -> Lora:
    """The LoRA in a folder; raises `UserError` unless its names and shapes are those of layers of `model`."""
    config = read_json(folder / LORA_CONFIG, most=MOST_CONFIG)
    check_config(config, folder / LORA_CONFIG)
    path = folder / LORA_WEIGHTS
    with opened_tensors(path) as file:
        found = file.kinds()
        layers = _layers_in(found, model)
        if not layers:
            raise UserError(f"{path} must hold matrices of one layer or more, got none; train a LoRA")
        wanted = {name: kind for layer in layers for name, kind in _kinds(layer, model, config["r"]).items()}
        rule = f"{path} must hold the matrices A and B of linear layers of {type(model).__name__}"
        check_fit(wanted, found, rule, "use the model for which it was trained")
        tensors = {name: file.load(name).clone() for name in found}
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise not_finite(path, name)
    names = [[f"{ROOT}{layer}.lora_{letter}.weight" for letter in "AB"] for layer in layers]
    return Lora(config, {layer: (tensors[a], tensors[b]) for layer, (a, b) in zip(layers, names, strict=True)})


def check_config(config: Mapping[str, Any], source: Path | str) -> None:
    """Raise `UserError` unless PEFT's `config` says plain low-rank matrices, of one rank and scale."""
    if (kind := config.get("peft_type")) != "LORA":
        raise UserError(f"{source}: 'peft_type' must be 'LORA', got {kind!r:.100}; train a LoRA")
    rank = taken(config, "r", int, source)
    if not 1 <= rank <= LARGEST_RANK:
        raise UserError(f"{source}: 'r' must lie between 1 and {LARGEST_RANK}, got {rank}; save it again")
    taken(config, "lora_alpha", float, source)
    taken({"use_rslora": False, **config}, "use_rslora", bool, source)
    odd = [name for name, value in config.items() if name not in (*_READ, *_TOLD) and not _among(value, _NOTHING)]
    if not _among(config.get("init_lora_weights", True), _PLAIN_STARTS):
        odd.append("init_lora_weights")
    if odd:
        said = listed([f"{name} = {config[name]!r:.60}" for name in odd], LISTED)
        raise UserError(f"{source} must say plain matrices of one rank, got {said}; train it without")


def _among(value: object, plain: Sequence[object]) -> bool:
    """Whether it is one of the `plain` values, and of its type: 0 and 1 are no truth values."""
    return any(type(value) is type(each) and value == each for each in plain)


def scale_of(config: Mapping[str, Any]) -> float:
    """What the product of the matrices is multiplied by: alpha / r, or alpha / sqrt(r) (arXiv 2312.03732)."""
    return config["lora_alpha"] / config["r"] ** (0.5 if config.get("use_rslora") else 1)


@torch.no_grad()
def restore(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Give the layers in `before` their old weights back."""
    for name, weight in before.items():
        own: Any = model.get_submodule(name).weight
        own.copy_(weight)


def taken_out(model: nn.Module) -> Lora | None:
    """The LoRA that PEFT has put into `model`, which is as before afterwards; None where there is none."""
    lora = found_in(model)
    if lora is None:
        return None
    for name, layer in [*_wrapped(model)]:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.base_layer)
    del model.peft_config
    model.requires_grad_(True)  # which PEFT takes from all but its own
    return lora


def found_in(model: Any) -> Lora | None:
    """The LoRA that PEFT has put into `model`, where it stays; raises `UserError` for several, and other kinds."""
    layers = dict(_wrapped(model))
    if not layers:
        return None
    if not getattr(model, "peft_config", None):
        raise UserError(
            f"layers must be plain or have a LoRA of peft, got another one as {next(iter(layers))}; remove it"
        )
    (name, config), *others = model.peft_config.items()
    if others:
        raise UserError(f"a model must have one LoRA, got {[name, *(each for each, _ in others)]}; delete the others")
    said = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    said["peft_type"] = str(getattr(config.peft_type, "value", config.peft_type))
    check_config(said, "the LoRA in the model")
    pairs = {key: (layer.lora_A[name].weight, layer.lora_B[name].weight) for key, layer in layers.items()}
    return Lora(said, {key: (a.detach().clone(), b.detach().clone()) for key, (a, b) in pairs.items()})


def _wrapped(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers around which PEFT has put its own."""
    return ((name, module) for name, module in model.named_modules() if hasattr(module, "base_layer"))


def _layers_in(found: Mapping[str, Kind], model: nn.Module) -> list[str]:
    """The layers of `model` of which matrices were found."""
    named = dict.fromkeys(match["layer"] for name in found if (match := _NAME.fullmatch(name)))
    kinds = {name: type(module) for name, module in model.named_modules()}
    return [name for name in named if kinds.get(name) in (nn.Linear, Linear, nn.Conv2d)]


def _kinds(name: str, model: nn.Module, rank: int) -> dict[str, Kind]:
    """Names, shapes and type of the matrices of a layer."""
    weight: Any = model.get_submodule(name).weight
    out, *rest = weight.shape
    ones = [1] * (weight.ndim - 2)
    shapes = {"A": (rank, *rest), "B": (out, rank, *ones)}
    return {f"{ROOT}{name}.lora_{letter}.weight": (shape, torch.float32) for letter, shape in shapes.items()}
