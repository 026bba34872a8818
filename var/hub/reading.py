"""Weights from safetensors files, compared with the model in all respects before a tensor is read."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from var.errors import UserError
from var.foreign.documents import read_json
from var.foreign.weight_files import pickles_in
from var.foreign.weights import Kind, is_finite, not_finite, opened_tensors
from var.hub.building import Stored
from var.hub.layout import SHARD, WEIGHTS, WEIGHTS_INDEX
from var.hub.placement import FLOATS

LARGEST_NUMBER = 2**20
LONGEST_LIST = 4096
"""In the config of a model, however small it is."""


@dataclass(frozen=True, slots=True)
class SavedWeights:
    """The files of weights in a folder, of which only the headers have been read."""

    files: Mapping[Path, Mapping[str, Kind]]  # what each of them holds
    source: Path  # the file to name in messages
    prefix: str = ""  # of their names in the files, where these hold more than this model

    def stored(self, class_name: str) -> Stored:
        """What `build` compares a model with."""
        return Stored(
            kinds={name: kind for kinds in self.files.values() for name, kind in kinds.items()},
            rule=f"{self.source} must hold exactly the weights of {class_name} as its config says",
            remedy="use the config and the class with which it was saved",
        )

    def check_sizes(self, values: Mapping[str, Any], config: Path) -> None:
        """Raise `UserError` for a number or a list in a `config` that is out of all proportion to the weights."""
        numbers = sum(math.prod(shape) for kinds in self.files.values() for shape, _ in kinds.values())
        most = max(numbers, LARGEST_NUMBER)
        for name, value in values.items():
            if isinstance(value, list) and len(value) > LONGEST_LIST:
                raise UserError(
                    f"{config}: field {name!r} must have at most {LONGEST_LIST} entries, got "
                    f"{len(value)}; save the model again"
                )
            if any(isinstance(each, int) and abs(each) > most for each in _leaves(value)):
                raise UserError(
                    f"{config}: field {name!r} must be at most {most}, for the weights have "
                    f"{numbers} numbers, got {value!r}; use the config with which they were saved"
                )

    def read(
        self, wanted: Mapping[str, Tensor], dtype: torch.dtype | None, device: torch.device | str | None
    ) -> dict[str, Tensor]:
        """Copies of the tensors, as parameters where the `wanted` ones are, placed on `device`.

        Floating tensors become `dtype`, or stay of the type in which they were saved. Names that are one tensor in
        `wanted` are one in the result. Raises `UserError` for NaN and infinity, also for those that `dtype` makes.
        """
        result: dict[str, Tensor] = {}
        first: dict[int, str] = {}  # the name under which a tensor was read, by its identity in the model
        for path, kinds in self.files.items():
            with opened_tensors(path) as file:
                for name in kinds:
                    own = wanted[name]
                    # A copy, for what is read is a view of the mapped file; in the memory format of the model.
                    kind = _type(own, kinds[name], dtype, f"{path}: {name}")
                    # A tensor on the meta device would give its format slowly, by way of torch's compiler.
                    outline = torch.empty_strided(own.shape, own.stride(), dtype=kind)
                    tensor = torch.empty_like(outline, device=device or "cpu")
                    saved = file.load(self.prefix + name)
                    check_copied(tensor.copy_(saved), saved, path, name)
                    if id(own) in first:
                        _check_tied(result[first[id(own)]], tensor, (first[id(own)], name), self.source)
                        result[name] = result[first[id(own)]]
                        continue
                    first[id(own)] = name
                    parameter = isinstance(own, nn.Parameter)
                    result[name] = nn.Parameter(tensor, requires_grad=own.requires_grad) if parameter else tensor
        return result


def saved_weights(folder: Path) -> SavedWeights:
    """The weights in `folder`; raises `UserError` for files that are missing, stray, damaged or of another kind."""
    files, source = _weight_files(folder)
    return SavedWeights({path: _headers(path, names) for path, names in files.items()}, source)


def check_copied(copy: Tensor, saved: Tensor, source: Path | str, name: str) -> None:
    """Raise `UserError` if a tensor that was `saved`, or its copy in another type, is not finite."""
    if is_finite(copy):
        return
    if not is_finite(saved):
        raise not_finite(source, name)
    raise UserError(
        f"{source}: {name} must stay finite in {copy.dtype}, but reaches {float(saved.abs().max()):g}; "
        "load it in torch.bfloat16 or torch.float32"
    )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _type(own: Tensor, stored: Kind, dtype: torch.dtype | None, what: str) -> torch.dtype:
    """In which type a tensor is loaded."""
    if not own.is_floating_point():
        return own.dtype
    kind = dtype or stored[1]
    if kind not in FLOATS:
        raise UserError(f"{what} must be of a type that models compute in, got {kind}; pass dtype=torch.float32")
    return kind


def _weight_files(folder: Path) -> tuple[dict[Path, frozenset[str] | None], Path]:
    """The files of weights, with the names that each must hold (None: any), and the one to name in messages."""
    single, index = folder / WEIGHTS, folder / WEIGHTS_INDEX
    shards = {path.name for path in folder.iterdir() if SHARD.fullmatch(path.name)}
    if not index.exists():
        if not single.exists() and shards:
            raise UserError(f"{index} must exist beside {min(shards)}, but it is missing; download or save it again")
        if not single.exists():
            _refuse_pickles(folder)
        return {single: None}, single
    placed = _read_index(index)
    stray = sorted(shards - placed.keys()) + ([WEIGHTS] if single.exists() and WEIGHTS not in placed else [])
    if stray:
        raise UserError(f"{index} must name all weights beside it, but does not name {stray[0]}; save the model again")
    return {folder / name: names for name, names in placed.items()}, index


def _refuse_pickles(folder: Path) -> None:
    pickles = pickles_in(path.name for path in folder.iterdir())
    if pickles:
        raise UserError(
            f"{folder / WEIGHTS} must exist, but there is only {pickles[0]}, a pickle, which could run code and is not "
            "loaded; save the model as safetensors"
        )


def _read_index(path: Path) -> dict[str, frozenset[str]]:
    """The names of tensors by file, from an index in the ecosystem's layout."""
    values = read_json(path)
    weight_map: Any = values.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise UserError(f"{path}: 'weight_map' must give the file of every tensor; save the model again")
    placed: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        if name != WEIGHTS and not SHARD.fullmatch(name):
            raise UserError(
                f"{path}: files of weights must have names like 'model-00001-of-00002.safetensors' and lie beside it, "
                f"got {name!r}; do not load it"
            )
        placed.setdefault(name, set()).add(tensor)
    missing = [name for name in placed if not (path.parent / name).exists()]
    if missing:
        raise UserError(f"{path.parent / sorted(missing)[0]} must exist, as {path.name} says; download it again")
    return {name: frozenset(placed[name]) for name in sorted(placed)}


def _headers(path: Path, names: frozenset[str] | None) -> dict[str, Kind]:
    """Shape and kind of every tensor in a file, which must hold exactly `names`."""
    with opened_tensors(path) as file:
        found = file.kinds()
    if names is not None and names != found.keys():
        odd = sorted(names ^ found.keys())
        raise UserError(
            f"{path} must hold exactly the tensors that {WEIGHTS_INDEX} says, but {odd[0]} is only "
            f"{'in the file' if odd[0] in found else 'in the index'}; download or save it again"
        )
    return found


def _check_tied(left: Tensor, right: Tensor, names: tuple[str, str], path: Path) -> None:
    if not torch.equal(left, right):
        raise UserError(
            f"{path}: {names[0]} and {names[1]} are one tensor in the model and must be equal, but they differ; "
            "save the model again"
        )
