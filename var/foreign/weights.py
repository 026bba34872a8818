"""Files of tensors, read safely: no code in them is run, and nothing in them is larger than the file; and written."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from var.errors import UserError
from var.files import begin_folder, give_usual_mode
from var.foreign.weight_files import check_file, check_weights, damaged
from var.names import shown
from var.paths import expanded

Kind = tuple[tuple[int, ...], torch.dtype | str]
"""Shape and type of a tensor; the type is a text if torch has none of that name."""

LONGEST_NAME = 10_000
"""Characters; thousands of containers in each other are no state dict."""

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class TensorFile:
    """An open safetensors file; whatever in it is broken is a `UserError` that names it."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file

    def kinds(self) -> dict[str, Kind]:
        """Shape and type of each tensor, for which only the header is read."""
        with _told(self.path):
            headers = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118 - no mapping
            return {name: (tuple(each.get_shape()), _kind(each.get_dtype())) for name, each in headers.items()}

    def metadata(self) -> dict[str, str]:
        """What its writer put beside the tensors."""
        with _told(self.path):
            return self._file.metadata() or {}

    def load(self, name: str) -> Tensor:
        """A tensor on the CPU, as a view of the file; it can be trained, even if it is loaded in inference mode."""
        with _told(self.path), ordinary_tensors():
            return self._file.get_tensor(name)


@contextmanager
def opened_tensors(path: Path | str) -> Iterator[TensorFile]:
    """A safetensors file, open; raises `UserError` for one that is missing, damaged or of another kind."""
    path = expanded(path)
    check_file(path)
    with _told(path):
        opened = safe_open(path, framework="pt", device="cpu")
    with opened as file:
        yield TensorFile(path, file)


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Inside, tensors are made on the CPU and may enter autograd, whatever contexts the caller is in."""
    # Inside a context of a device every function of torch is called by way of Python.
    usual = torch.get_default_device().type == "cpu"
    with torch.inference_mode(False), nullcontext() if usual else torch.device("cpu"):
        yield


def read_tensors(path: Path | str, *, finite: bool = True) -> dict[str, Any]:
    """What a `.safetensors`, `.pth`, `.pt` or `.bin` file holds: tensors by name, maybe nested, on the CPU.

    Pickles are read with `weights_only` and mapped into memory rather than copied, so that, unless all must be
    `finite`, shapes can be compared before anything is read. Raises `UserError` for a file that is missing, cut off, a
    web page, a Git-LFS pointer, or that holds code, a tensor larger than what is stored of it, or NaN or infinity.
    """
    path = expanded(path)
    kind = check_weights(path)
    with ordinary_tensors():
        tensors = _read_safetensors(path) if kind == "safetensors" else _read_pickle(path, zipped=kind == "zip")
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} must hold tensors by name, got {type(tensors).__name__}; save a state dict")
    for name, tensor in _walk(tensors):
        if tensor.is_meta:
            raise UserError(f"{path}: {name} must be stored element by element, but is on the meta device; save values")
        check_stored(tensor, f"{shown(path)}: {shown(name)}", "save a contiguous copy of it")
        if finite and not is_finite(tensor):
            raise not_finite(path, name)
    return dict(tensors)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """One safetensors file, readable by all like other files; raises `OSError`.

    `metadata` has one key: the library writes several in an order that differs from one process to the next.
    """
    assert metadata is None or len(metadata) == 1
    cpu: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        # safetensors refuses tensors that share memory, so those after the first are copied.
        place = tensor.untyped_storage().data_ptr()
        cpu[name] = tensor.clone() if place in storages else tensor
        storages.add(place)
    # The library writes into a temporary file of its own, which would stay where the process is killed: in a folder
    # of ours it is swept.
    folder = begin_folder(path)
    try:
        _write(cpu, folder / "tensors", dict(metadata or {"format": "pt"}))
        os.replace(folder / "tensors", path)
    except SafetensorError as error:
        raise _os_error(str(error) or type(error).__name__) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    give_usual_mode(path)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """What the library's `save_file` writes of contiguous tensors on the CPU that share no memory.

    It finds the memory of each by way of ctypes: of a checkpoint of small tensors that is most of the time.
    """
    spec = getattr(safetensors, "TensorSpec", None)  # since 0.8
    if spec is None or sys.byteorder == "big" or not all(tensor.numel() for tensor in tensors.values()):
        save_file(tensors, path, metadata=metadata)
        return
    specs = {
        name: spec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tensor.shape,
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in tensors.items()
    }
    safetensors.serialize_file(specs, path, metadata=metadata)


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; one pass over its memory, no copy."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel() or tensor.is_meta:
        return True
    tensor = tensor.detach()
    if tensor.is_complex() or tensor.element_size() < 2:  # types that have no order here
        return bool(torch.isfinite(tensor if tensor.is_complex() else tensor.float()).all())
    # NaN is the least and the greatest of all; ten times faster than a look at each number.
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def not_finite(source: Path | str, name: str) -> UserError:
    """The error for weights that no model can compute with."""
    return UserError(f"{source}: {name} must be finite numbers, but holds NaN or infinity; take an earlier, whole file")


def check_stored(tensor: Tensor, rule: str, remedy: str) -> None:
    """Raise `UserError` if a tensor has more elements than memory: 1.5 KB can hold 10^12, all of them the same."""
    plain = tensor.layout is torch.strided and not tensor.is_quantized
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(
            f"{rule} must be stored element by element, but shape {tuple(tensor.shape)} is only claimed; {remedy}"
        )


def _os_error(text: str) -> OSError:
    """What the system said, out of the words that safetensors puts around it."""
    number = re.search(r"\(os error (\d+)\)", text)
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(text.splitlines()[0])


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever the library raises over the bytes of a file, as one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise damaged(path, error) from error


def _kind(word: str) -> torch.dtype | str:
    return _DTYPES.get(word, word)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with opened_tensors(path) as file:
        return {name: file.load(name) for name in file.kinds()}


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


def _walk(values: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested mappings and sequences, with their dotted names; each container is looked into once."""
    seen: set[int] = set()
    pending: list[tuple[str, Any]] = [("", values)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif len(name) > LONGEST_NAME:
            raise UserError(f"tensors must have names of at most {LONGEST_NAME} characters, got {name[:40]}...; rename")
        elif isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes) and id(value) not in seen:
            seen.add(id(value))
            parts = value.items() if isinstance(value, Mapping) else enumerate(value)
            pending += [(f"{name}.{key}" if name else str(key), part) for key, part in reversed([*parts])]
