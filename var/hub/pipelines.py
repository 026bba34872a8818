"""Pipelines as folders: an index, and a folder for each of the models they are made of."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, Unpack

import torch
from torch import nn

from var.configs import to_json
from var.errors import UserError, suggestion
from var.files import atomic_file, make_folder
from var.foreign.documents import read_json
from var.hub.layout import CONFIG, PIPELINE_INDEX
from var.hub.models import check_placement, load_folder, save_model, saved_class
from var.hub.publishing import Publishable
from var.hub.remote import Source, find_folder
from var.hub.writing import parse_size

Pipeline = TypeVar("Pipeline", bound="PretrainedPipeline")


def save_pipeline(pipeline: "PretrainedPipeline", directory: Path | str, *, max_shard_size: int | str = "5GB") -> None:
    """Write every part of `pipeline` into a folder of its own below `directory`, then the index that names them."""
    parts = {name: getattr(pipeline, name) for name in pipeline.parts}
    names = {name: type(part).__name__ for name, part in parts.items()}
    text = to_json({"class": type(pipeline).__name__, "parts": names, "settings": pipeline.settings()})
    parse_size(max_shard_size)
    folder = make_folder(directory)
    with atomic_file(folder / PIPELINE_INDEX) as index_file:
        index_file.write_text(text, encoding="utf-8")
        (folder / PIPELINE_INDEX).unlink(missing_ok=True)  # an older index must not stand beside new parts
        for name, part in parts.items():
            save_model(part, folder / name, max_shard_size=max_shard_size)


def load_pipeline(
    cls: type[Pipeline],
    path_or_id: Path | str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **source: Unpack[Source],
) -> Pipeline:
    """The pipeline of class `cls` saved in a folder or on the Hub; arguments and errors as for `load_model`."""
    check_placement(dtype, device)
    folder = find_folder(path_or_id, tuple(cls.parts), **source)
    cls, settings = _read_index(cls, folder / PIPELINE_INDEX)
    parts = {name: load_folder(part, folder / name, dtype, device) for name, part in cls.parts.items()}
    return cls(**parts, **settings)


def _read_index(cls: type[Pipeline], path: Path) -> tuple[type[Pipeline], dict[str, Any]]:
    """The class and the settings in a pipeline's index, after everything in it has been compared with the class."""
    if not path.exists() and (path.parent / CONFIG).exists():
        raise UserError(
            f"{path.parent} must hold a {cls.__name__}, but it holds a single model; load that with its own class"
        )
    index = read_json(path)
    cls = saved_class(cls, index.pop("class", None), path)
    parts, settings = index.pop("parts", None), index.pop("settings", None)
    if index:
        raise UserError(
            f"{path}: unknown key {next(iter(index))!r}; {suggestion(next(iter(index)), ('parts', 'settings'))}"
        )
    wanted = {name: part.__name__ for name, part in cls.parts.items()}
    if not isinstance(parts, dict) or parts.keys() != wanted.keys():
        raise UserError(f"{path}: {cls.__name__} has the parts {wanted}, got {parts}; load the class that was saved")
    for name, part in cls.parts.items():
        saved_class(part, parts[name], path)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: 'settings' must be a JSON object, got {settings!r}; save the pipeline again")
    known = set(inspect.signature(cls).parameters) - set(wanted)
    for name in settings:
        if name not in known:
            remedy = suggestion(name, known) if known else "remove it"
            raise UserError(f"{path}: {cls.__name__} has no setting {name!r}; {remedy}")
    return cls, settings


class PretrainedPipeline(Publishable):
    """Gives an object made of several models its way to disk and to the Hub.

    The constructor takes each of the `parts` by its name, and every one of the `settings()`, as keywords.
    """

    parts: ClassVar[Mapping[str, type[nn.Module]]]
    """The class of each part, by the name of its attribute, constructor argument and folder."""

    def settings(self) -> dict[str, Any]:
        """What the constructor takes besides the parts, fit for JSON; nothing unless overridden."""
        return {}

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast every part, as `nn.Module.to` does; returns the pipeline."""
        for name in self.parts:
            getattr(self, name).to(*args, **kwargs)
        return self

    _noun = "pipeline"
    _save = staticmethod(save_pipeline)
    _load = staticmethod(load_pipeline)
