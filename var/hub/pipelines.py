"""Pipelines as folders: an index, and a folder for each of the models they are made of."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, Unpack

import torch

from var.configs import to_json
from var.errors import UserError
from var.files import atomic_text, sweep
from var.hub.kinds import OtherKindError, read_key, saved_name
from var.hub.layout import CONFIG, MOST_INDEX, PIPELINE_INDEX
from var.hub.locking import FolderLock, read_whole
from var.hub.models import checked_model, load_folder, packaged_type, written_model
from var.hub.pipeline_index import checked_index, is_nested, pipeline_index, put_together
from var.hub.placement import DType, check_move, check_placement, chosen_dtype, chosen_place
from var.hub.publishing import Publishable, with_page
from var.hub.remote import Source, find_folder
from var.hub.single_file import load_single_file, save_single_file
from var.hub.writing import new_folder, parse_size
from var.keywords import known_keywords
from var.paths import expanded
from var.quantities import quantity
from var.terms import UNKNOWN, Terms
from var.weights import add_to_digest

Pipeline = TypeVar("Pipeline", bound="PretrainedPipeline")


@known_keywords
def save_pipeline(pipeline: "PretrainedPipeline", directory: Path | str, *, max_shard_size: int | str = "5GB") -> None:
    """Write every part of `pipeline` into a folder of its own below `directory`, then the index that names them.

    Nothing gets its name before all is written, so that a save that fails leaves the old pipeline. Errors as for
    `save_model`.
    """
    limit = parse_size(max_shard_size)
    with _written(pipeline, expanded(directory), limit):
        pass


@contextmanager
def _written(pipeline: "PretrainedPipeline", folder: Path, limit: int) -> Iterator[None]:
    """Write a pipeline into `folder` under temporary names, which become final when the block ends."""
    models = pipeline.models()
    forms = {name: checked_model(each, pipeline.kinds()[name]) for name, each in models.items() if not is_nested(each)}
    text = to_json(pipeline_index(pipeline))
    with new_folder(folder), FolderLock(folder) as lock, ExitStack() as stack:
        if (folder / CONFIG).exists():
            raise UserError(
                f"{folder} holds a single model, which a pipeline must not be mixed with; save into another one"
            )
        stack.enter_context(atomic_text(folder / PIPELINE_INDEX, text))
        for name, part in models.items():
            place = folder / name
            written = _written(part, place, limit) if is_nested(part) else written_model(forms[name], place, limit)
            stack.enter_context(written)
        yield
        lock.hold()
        sweep(folder, lambda name: name == PIPELINE_INDEX)
        (folder / PIPELINE_INDEX).unlink(missing_ok=True)  # an older index must not stand beside new parts


@known_keywords
def load_pipeline(
    cls: type[Pipeline],
    path_or_id: Path | str,
    *,
    dtype: DType = None,
    torch_dtype: DType = None,
    device: torch.device | str | None = None,
    **source: Unpack[Source],
) -> Pipeline:
    """The pipeline of class `cls` saved in a folder or on the Hub; arguments and errors as for `load_model`."""
    kind = chosen_dtype(dtype, torch_dtype)
    check_placement(device)
    folder = find_folder(path_or_id, tuple(_places(cls)), cls.package, **source)
    return with_page(_load_folder(cls, folder, kind or packaged_type(folder, cls.package), device), folder)


def _load_folder(
    cls: type[Pipeline], folder: Path, dtype: torch.dtype | None, device: torch.device | str | None
) -> Pipeline:
    """The pipeline in a local folder; see `load_pipeline`."""
    path = folder / PIPELINE_INDEX

    def read() -> tuple[type[Pipeline], dict[str, Any], dict[str, Any], Terms]:
        saved, names, settings, terms = _read_index(cls, path)
        kinds = {name: saved.kinds()[name] for name in names}
        parts = {
            name: (_load_folder if is_nested(part) else load_folder)(part, folder / name, dtype, device)
            for name, part in kinds.items()
        }
        return saved, parts, settings, terms

    return put_together(*read_whole(path, read), path)


def _places(cls: "type[PretrainedPipeline]") -> Iterator[str]:
    """The folders of the models of a pipeline, those of pipelines within it too."""
    for name, part in cls.kinds().items():
        if is_nested(part):
            yield from (f"{name}/{place}" for place in _places(part))
        else:
            yield name


def _read_index(cls: type[Pipeline], path: Path) -> tuple[type[Pipeline], list[str], dict[str, Any], Terms]:
    """See `checked_index`."""
    if not path.exists() and (path.parent / CONFIG).exists():
        raise OtherKindError(
            f"{path.parent} must hold a {cls.__name__}, but it holds a single model",
            saved_name(path.parent),
            "load that with its own class",
        )
    return checked_index(cls, read_key(path, MOST_INDEX), path)


class PretrainedPipeline(Publishable):
    """Gives an object made of several models its way to disk and to the Hub.

    The constructor takes each of the `parts` by its name, and every one of the `settings()`, as keywords.
    """

    parts: ClassVar[Mapping[str, type[Any]]]
    """The class of each part, by the name of its attribute, constructor argument and folder: models, or pipelines."""

    optional: ClassVar[Mapping[str, type[Any]]] = {}
    """The same of parts that may be None."""

    terms: Terms = UNKNOWN
    """Those of the images that the models were trained on; they are saved with them, and stand in samples' records."""

    def models(self) -> dict[str, Any]:
        """The parts that are there, by name."""
        found = {name: getattr(self, name) for name in (*self.parts, *self.optional)}
        return {name: part for name, part in found.items() if part is not None or name in self.parts}

    def __repr__(self) -> str:
        try:
            told = ", ".join([*self._shows(), f"{quantity(self._parameters())} parameters"])
        except UserError as error:  # of parts that were set and do not fit
            told = str(error)
        return f"{type(self).__name__}({told})"

    def _shows(self) -> list[str]:
        """What is told of its images in a line; nothing unless overridden."""
        return []

    def _parameters(self) -> int:
        parts = [part for part in self.models().values() if part is not None]
        own = [sum(each.numel() for each in part.parameters()) for part in parts if not is_nested(part)]
        return sum(own) + sum(part._parameters() for part in parts if is_nested(part))

    def digest(self) -> str:
        """SHA-256 of the names and weights of all parts, in hexadecimal."""
        digest = hashlib.sha256()
        for name, part in sorted(self.models().items()):
            if is_nested(part):
                digest.update(f"{name} {part.digest()}".encode())
            elif part is not None:
                add_to_digest(digest.update, [(f"{name}.{each}", value) for each, value in part.state_dict().items()])
        return digest.hexdigest()

    @classmethod
    def kinds(cls) -> dict[str, type[Any]]:
        """The class of each part, of those too that may be None."""
        return {**cls.parts, **cls.optional}

    def settings(self) -> dict[str, Any]:
        """What the constructor takes besides the parts, fit for JSON; nothing unless overridden."""
        return {}

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast every part, as `nn.Module.to` does; returns the pipeline.

        Raises `UserError` for a device that cannot be used here, and for what is neither that nor a float type.
        """
        check_move(*args, **kwargs)
        for part in self.models().values():
            part.to(*args, **kwargs)
        return self

    @classmethod
    @known_keywords
    def from_single_file(
        cls,
        path: Path | str,
        *,
        dtype: DType = None,
        torch_dtype: DType = None,
        device: torch.device | str | None = None,
        device_map: str | None = None,
    ) -> Self:
        """Load from a file that `save_single_file` wrote, strictly; see `load_model`."""
        kind, place = chosen_dtype(dtype, torch_dtype), chosen_place(device, device_map)
        check_placement(place)
        return load_single_file(cls, path, dtype=kind, device=place)

    @known_keywords
    def save_single_file(self, path: Path | str) -> None:
        """Write all into one .safetensors file, whole or not at all; see `save_pipeline`."""
        save_single_file(self, path)

    _noun = "pipeline"
    _save = staticmethod(save_pipeline)
    _load = staticmethod(load_pipeline)
