"""Foreign weight files read safely: no code in them is run, and nothing in them is larger than the file."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from var.errors import UserError
from var.hub.file_kinds import check_weights, damaged
from var.weights import check_stored


def read_tensors(path: Path | str) -> dict[str, Any]:
    """What a `.safetensors`, `.pth`, `.pt` or `.bin` file holds: tensors by name, maybe nested, on the CPU.

    Pickles are read with `weights_only` and mapped into memory rather than
    copied, so shapes can be compared before anything is read. Raises `UserError` for a file that is missing, cut off, a
    web page, a Git-LFS pointer, or that holds code, or a tensor larger than what is stored of it.
    """
    path = Path(path)
    kind = check_weights(path)
    tensors = _read_safetensors(path) if kind == "safetensors" else _read_pickle(path, zipped=kind == "zip")
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} must hold tensors by name, got {type(tensors).__name__}; save a state dict")
    for name, tensor in _walk(tensors):
        if tensor.is_meta:
            raise UserError(f"{path}: {name} must be stored element by element, but is on the meta device; save values")
        check_stored(tensor, f"{path}: {name}", "save a contiguous copy of it")
    return dict(tensors)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error


def _read_pickle(path: Path, *, zipped: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    # A damaged pickle raises whatever its bytes happen to mean.
    except Exception as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> UserError:
    code = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
    if code:
        return UserError(
            f"{path} must hold tensors only, but it asks to run {code[1]}, which was not done; "
            "get a .safetensors file, or save its state dict alone where you trust it"
        )
    if "Weights only load failed" in str(error):
        error = ValueError("its pickle cannot be read")  # what torch says there is advice on how to run it
    return damaged(path, error)


def _walk(values: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested mappings and sequences, with their dotted names."""
    if isinstance(values, Tensor):
        yield name, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _walk(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes):
        for index, value in enumerate(values):
            yield from _walk(value, f"{name}.{index}" if name else str(index))
