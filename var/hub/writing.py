"""Weights into safetensors files that take their names all together."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from torch import Tensor

from var.errors import UserError
from var.files import atomic_file, atomic_text, make_folder, sweep
from var.foreign.weights import save_tensors
from var.hub.layout import CONFIG, WEIGHTS, WEIGHTS_INDEX, is_weights_file, shard_name
from var.names import received

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(size: int | str) -> int:
    """Bytes: a number of them, or a text such as "200MB" or "5GB" in powers of ten."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([KMG]B|)", str(size).strip().upper())
    number = int(match[1]) * UNITS[match[2]] if match else 0
    if number < 1 or isinstance(size, bool):
        raise UserError(
            f"max_shard_size must be a number of bytes or a text like '5GB', got {received(size, 200)}; correct it"
        )
    return number


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make the folder `path`; if the block fails, what had to be made for it is removed again unless it is filled."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def written_weights(tensors: Mapping[str, Tensor], folder: Path, limit: int) -> Iterator[None]:
    """Write `tensors` by name under temporary names, which become final when the block ends.

    Weights that an earlier save left, and temporary files of killed ones, are removed then. Raises `UserError`.
    """
    groups = _shards(tensors, limit)
    single = len(groups) == 1
    files = [WEIGHTS if single else shard_name(number, len(groups)) for number in range(1, len(groups) + 1)]
    with ExitStack() as stack:
        # Leaving the stack names the files; first come the shards, then their index.
        if not single:
            index = _index(tensors, dict(zip(files, groups, strict=True)))
            stack.enter_context(atomic_text(folder / WEIGHTS_INDEX, index))
        for name, group in zip(files, groups, strict=True):
            path = stack.enter_context(atomic_file(folder / name))
            save_tensors(path, {key: tensors[key] for key in group})
        yield
        _remove_older(folder, keep={*files} | (set() if single else {WEIGHTS_INDEX}))


def _shards(tensors: Mapping[str, Tensor], limit: int) -> list[list[str]]:
    """Names in their order, in groups of at most `limit` bytes; a larger tensor is alone in its group."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, tensor in tensors.items():
        if groups[-1] and filled + tensor.nbytes > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += tensor.nbytes
    return groups


def _index(tensors: Mapping[str, Tensor], groups: Mapping[str, Sequence[str]]) -> str:
    total = sum(tensor.nbytes for tensor in tensors.values())
    weight_map = {name: file for file, names in groups.items() for name in names}
    return json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n"


def _remove_older(folder: Path, keep: set[str]) -> None:
    """Remove the weights that are not in `keep`, and what killed processes left half-written."""
    sweep(folder, lambda name: name == CONFIG or is_weights_file(name))
    for path in folder.iterdir():
        if is_weights_file(path.name) and path.name not in keep:
            path.unlink(missing_ok=True)
