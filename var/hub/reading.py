"""Weights from safetensors files, compared with the model in all respects before a tensor is read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from var.errors import UserError
from var.foreign.documents import read_json
from var.hub.file_kinds import check_file, damaged, pickles_in
from var.hub.layout import SHARD, WEIGHTS, WEIGHTS_INDEX
from var.weights import Kind, check_fit, kinds_of, stored_kinds


def read_weights(
    folder: Path,
    wanted: Mapping[str, Tensor],
    class_name: str,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> dict[str, Tensor]:
    """Copies of the tensors saved in `folder`, as parameters where the `wanted` ones are, placed on `device`.

    Floating tensors become `dtype` (default: that of the wanted tensor). Names that are one tensor in `wanted` are one
    in the result. Raises `UserError` unless the files hold exactly the wanted names, shapes and kinds.
    """
    files, source = _weight_files(folder)
    headers = {name: header for path in files for name, header in _headers(path, files[path]).items()}
    rule = f"{source} must hold exactly the weights of {class_name} as its config says"
    check_fit(kinds_of(wanted), headers, rule, "use the config and the class with which it was saved")
    result: dict[str, Tensor] = {}
    first: dict[int, str] = {}  # the name under which a tensor was read, by its identity in the model
    for path in files:
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                own = wanted[name]
                kind = dtype if dtype is not None and own.is_floating_point() else own.dtype
                # A copy, for what is read is a view of the mapped file; in the memory format of the model.
                tensor = torch.empty_like(own.detach(), dtype=kind, device=device or "cpu")
                tensor.copy_(file.get_tensor(name))
                if id(own) in first:
                    _check_tied(result[first[id(own)]], tensor, (first[id(own)], name), source)
                    result[name] = result[first[id(own)]]
                    continue
                first[id(own)] = name
                parameter = isinstance(own, nn.Parameter)
                result[name] = nn.Parameter(tensor, requires_grad=own.requires_grad) if parameter else tensor
    return result


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
    with _opened(path) as file:
        found = stored_kinds(file)
    if names is not None and names != found.keys():
        odd = sorted(names ^ found.keys())
        raise UserError(
            f"{path} must hold exactly the tensors that {WEIGHTS_INDEX} says, but {odd[0]} is only "
            f"{'in the file' if odd[0] in found else 'in the index'}; download or save it again"
        )
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    check_file(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error


def _check_tied(left: Tensor, right: Tensor, names: tuple[str, str], path: Path) -> None:
    if not torch.equal(left, right):
        raise UserError(
            f"{path}: {names[0]} and {names[1]} are one tensor in the model and must be equal, but they differ; "
            "save the model again"
        )
