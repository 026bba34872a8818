"""Models as folders: a config and weights."""

from collections.abc import Iterator
from inspect import isabstract
from pathlib import Path
from typing import Any, ClassVar, TypeVar, Unpack

import torch
from torch import nn

from var.configs import config_from_dict, config_to_dict, to_json
from var.devices import check_device
from var.errors import UserError
from var.files import atomic_file, make_folder
from var.foreign.documents import read_json
from var.hub.building import build
from var.hub.layout import CONFIG, PIPELINE_INDEX
from var.hub.publishing import Publishable
from var.hub.reading import read_weights
from var.hub.remote import Source, find_folder
from var.hub.writing import parse_size, written_weights

Model = TypeVar("Model", bound=nn.Module)
Class = TypeVar("Class")


def save_model(model: nn.Module, directory: Path | str, *, max_shard_size: int | str = "5GB") -> None:
    """Write `model` and its `config` into `directory`; tensors that share memory are each written whole.

    Weights of more than `max_shard_size` (bytes, or such as "5GB" = 5 * 10^9) are divided among several files. Killed
    at any moment, it leaves a folder that loads as the old model or the new one, or that does not load for want of a
    config. Raises `UserError` if the place is not writable or the config could not be read back.
    """
    given: Any = model.config
    config = config_to_dict(given)
    config_from_dict(type(given), config, source=f"the config of {type(model).__name__}")
    text = to_json({"class": type(model).__name__, **config})
    limit = parse_size(max_shard_size)
    folder = make_folder(directory)
    with atomic_file(folder / CONFIG) as config_file:
        config_file.write_text(text, encoding="utf-8")
        with written_weights(model, folder, limit):
            # An older config must at no moment stand beside the new weights.
            (folder / CONFIG).unlink(missing_ok=True)


def load_model(
    cls: type[Model],
    path_or_id: Path | str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **source: Unpack[Source],
) -> Model:
    """The model of class `cls` saved in a folder, or on the Hub under "name" or "owner/name", in eval mode.

    `dtype` (a float type) and `device` default to the model's own; the global random stream is left as it was.
    `source` are the keywords of `var.hub.remote.Source`: revision, token, cache_dir, local_files_only, subfolder.
    Raises `UserError` if anything is missing, unexpected, of another shape or kind, damaged, or not to be had.
    """
    check_placement(dtype, device)
    return load_folder(cls, find_folder(path_or_id, (), **source), dtype, device)


def load_folder(cls: type[Model], folder: Path, dtype: torch.dtype | None, device: torch.device | str | None) -> Model:
    """The model in a local folder; see `load_model`."""
    path = folder / CONFIG
    if not path.exists() and (folder / PIPELINE_INDEX).exists():
        raise UserError(
            f"{folder} must hold a single {cls.__name__}, but it holds a pipeline; load that, or give the name of "
            "a part as subfolder"
        )
    values = read_json(path)
    cls = saved_class(cls, values.pop("class", None), path)
    config_class: Any = getattr(cls, "config_class")  # noqa: B009 - any module may have one, nn.Module declares none
    model = build(cls, config_from_dict(config_class, values, source=path))
    state = read_weights(folder, model.state_dict(keep_vars=True), cls.__name__, dtype, device)
    model.load_state_dict(state, assign=True)
    return model.to(dtype=dtype, device=device).eval()


def saved_class(cls: type[Class], saved: Any, path: Path) -> type[Class]:
    """The class that was saved: `cls`, or one of its subclasses that have been imported; nothing is imported for it."""
    known = {each.__name__: each for each in _family(cls)}
    if saved not in known:
        listed = " or ".join(sorted(repr(name) for name, each in known.items() if not isabstract(each)))
        raise UserError(
            f"{path} must be of class {listed}, got {saved!r}; load the class that was saved, after its import"
        )
    return known[saved]


def _family(cls: type[Class]) -> Iterator[type[Class]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _family(subclass)


def check_placement(dtype: torch.dtype | None, device: torch.device | str | None) -> None:
    """Refuse a dtype or device before anything is downloaded or built."""
    if dtype is not None and not dtype.is_floating_point:
        raise UserError(f"dtype must be a float type, got {dtype}; use torch.float32 or torch.bfloat16")
    if device is not None and str(device) != "meta":
        check_device(device)


class PretrainedModel(Publishable):
    """Gives an `nn.Module` with a `config` (an instance of `config_class`) its way to disk and to the Hub."""

    config_class: ClassVar[type]

    _noun = "model"
    _save = staticmethod(save_model)
    _load = staticmethod(load_model)
