"""In which type and on which device a model is loaded."""

from typing import Any

import torch
from torch import Tensor

from var.devices import check_device, chosen_device
from var.errors import UserError, chosen, first_line, suggestion
from var.names import received

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""In which models compute."""

_NAMES = {
    **{str(kind).removeprefix("torch."): kind for kind in FLOATS},
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
    "float": torch.float32,
    "half": torch.float16,
    "double": torch.float64,
    "auto": None,
}

_PLACES = {"auto": None, "cuda": "cuda", "cpu": "cpu"}
"""What `chosen_device` is asked for, by the words of `device_map`."""

DType = torch.dtype | str | None
"""A type of `FLOATS`, its name such as "bfloat16", "torch.bfloat16" or "bf16", or "auto" or None: as saved, but for the
models that come with a package, which are stored in bfloat16 to be small: those load as float32."""


def chosen_dtype(dtype: DType, torch_dtype: DType = None) -> torch.dtype | None:
    """The type that `dtype` says, or its alias `torch_dtype`; None for that of the file.

    Raises `UserError` for what is no float type, and for two that differ.
    """
    if torch_dtype is None:
        return _read(dtype)
    if dtype is not None and _read(dtype) != _read(torch_dtype):
        raise UserError(f"torch_dtype is another name of dtype, got {torch_dtype} and {dtype}; pass one of them")
    return _read(torch_dtype)


def chosen_place(device: torch.device | str | None, device_map: str | None = None) -> torch.device | str | None:
    """Where a model is put: what `device` says, or its other name `device_map`, whose "auto" is the best there is.

    Raises `UserError` for another word, and for two that differ.
    """
    if device_map is None:
        return device
    place = chosen_device(chosen(device_map, _PLACES, "device_map"))
    if device is None:
        return place
    check_placement(device)
    one, other = torch.device(device), torch.device(place)
    if one.type != other.type or (one.index or 0) != (other.index or 0):
        raise UserError(
            f"device_map={received(device_map)} is another way to say device={received(place)}, got {device}; pass one"
        )
    return device


def check_placement(device: torch.device | str | None) -> None:
    """Refuse a device before anything is downloaded or built."""
    if device is None:
        return
    if not isinstance(device, torch.device | str | int) or isinstance(device, bool):
        raise UserError(f"device must be a torch.device or a text like 'cuda:0', got {received(device)}; correct it")
    if isinstance(device, int) or str(device) != "meta":
        check_device(device)


def check_move(*args: Any, **kwargs: Any) -> None:
    """Raise `UserError` unless these are arguments of `nn.Module.to` that leave a model that can compute here.

    For torch, numbers are tensors: it would take 1.0 as such, and do nothing.
    """
    rule = "models go to a device, to a float type or both"
    for place, given in (*enumerate(args), *kwargs.items()):
        if isinstance(given, bool | torch.memory_format) and place != 0:
            continue
        found = (given.device, given.dtype) if isinstance(given, Tensor) else (given,)
        for each in found:
            if isinstance(each, torch.dtype):
                chosen_dtype(each)
            elif isinstance(each, str) and each in _NAMES:
                raise UserError(f"{rule}, got the text {each!r}; pass {_NAMES[each] or 'a type'}")
            elif isinstance(each, str | torch.device | int) and not isinstance(each, bool):
                check_device(each)
            elif each is not None:
                raise UserError(f"{rule}, got {received(each)}; pass for example 'cpu' or torch.float32")
    try:
        torch.nn.Identity().to(*args, **kwargs)
    except TypeError as error:
        reason = first_line(error).split(", but")[0]
        raise UserError(f"{rule}, but {reason}; pass for example 'cpu' or torch.float32") from error


def _read(dtype: Any) -> torch.dtype | None:
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype in FLOATS):
        return dtype
    if isinstance(dtype, str):
        name = dtype.strip().casefold().removeprefix("torch.")
        if name in _NAMES:
            return _NAMES[name]
        raise UserError(f"dtype must be a float type, got {received(dtype)}; {suggestion(name, _NAMES)}")
    raise UserError(f"dtype must be a float type, got {received(dtype)}; use torch.float32 or torch.bfloat16")
