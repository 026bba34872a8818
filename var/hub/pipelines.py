"""Pipelines as folders: an index, and a folder for each of the models they are made of."""

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, Union, Unpack, get_args, get_origin, get_type_hints

import torch

from var.configs import to_json
from var.devices import check_device
from var.errors import UserError, suggestion
from var.files import atomic_text, sweep
from var.foreign.documents import read_json
from var.hub.building import usual_types
from var.hub.layout import CONFIG, MOST_INDEX, PIPELINE_INDEX
from var.hub.locking import FolderLock, read_whole
from var.hub.models import checked_model, load_folder, packaged_type, saved_class, written_model
from var.hub.placement import DType, check_placement, chosen_dtype
from var.hub.publishing import Publishable, with_page
from var.hub.remote import Source, find_folder
from var.hub.wrappers import unwrapped
from var.hub.writing import new_folder, parse_size
from var.keywords import known_keywords
from var.names import shown
from var.paths import expanded
from var.typed import described, fit

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
    forms = {name: checked_model(each, pipeline.kinds()[name]) for name, each in models.items() if not _nested(each)}
    names = {name: type(unwrapped(each)).__name__ for name, each in models.items()}
    text = to_json({"class": type(pipeline).__name__, "parts": names, "settings": pipeline.settings()})
    with new_folder(folder), FolderLock(folder) as lock, ExitStack() as stack:
        if (folder / CONFIG).exists():
            raise UserError(
                f"{folder} holds a single model, which a pipeline must not be mixed with; save into another one"
            )
        stack.enter_context(atomic_text(folder / PIPELINE_INDEX, text))
        for name, part in models.items():
            place = folder / name
            written = _written(part, place, limit) if _nested(part) else written_model(forms[name], place, limit)
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

    def read() -> tuple[type[Pipeline], dict[str, Any], dict[str, Any]]:
        saved, names, settings = _read_index(cls, path)
        kinds = {name: saved.kinds()[name] for name in names}
        parts = {
            name: (_load_folder if _nested(part) else load_folder)(part, folder / name, dtype, device)
            for name, part in kinds.items()
        }
        return saved, parts, settings

    saved, parts, settings = read_whole(path, read)
    with usual_types():
        try:
            return saved(**parts, **settings)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def _nested(part: Any) -> bool:
    """Whether a part, or the class of one, is a pipeline itself."""
    return issubclass(part if isinstance(part, type) else type(part), PretrainedPipeline)


def _places(cls: "type[PretrainedPipeline]") -> Iterator[str]:
    """The folders of the models of a pipeline, those of pipelines within it too."""
    for name, part in cls.kinds().items():
        if _nested(part):
            yield from (f"{name}/{place}" for place in _places(part))
        else:
            yield name


def _read_index(cls: type[Pipeline], path: Path) -> tuple[type[Pipeline], list[str], dict[str, Any]]:
    """Class, names of parts and settings in a pipeline's index, after everything in it was compared with the class."""
    if not path.exists() and (path.parent / CONFIG).exists():
        raise UserError(
            f"{path.parent} must hold a {cls.__name__}, but it holds a single model; load that with its own class"
        )
    index = read_json(path, most=MOST_INDEX)
    cls = saved_class(cls, index.pop("class", None), path)
    parts, settings = index.pop("parts", None), index.pop("settings", None)
    if index:
        odd = next(iter(index))
        raise UserError(f"{path}: unknown key {odd!r}; {suggestion(odd, ('parts', 'settings'))}")
    wanted = {name: part.__name__ for name, part in cls.parts.items()}
    if not isinstance(parts, dict) or not wanted.keys() <= parts.keys() <= cls.kinds().keys():
        found = shown(parts)
        raise UserError(f"{path}: {cls.__name__} has the parts {wanted}, got {found}; load the class that was saved")
    for name in parts:
        saved_class(cls.kinds()[name], parts[name], path)
    if not isinstance(settings, dict):
        found = shown(repr(settings))
        raise UserError(f"{path}: 'settings' must be a JSON object, got {found}; save the pipeline again")
    return cls, list(parts), _checked_settings(cls, settings, path)


def _checked_settings(cls: type[Any], settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings, of the types that the constructor's arguments have."""
    hints = get_type_hints(inspect.unwrap(cls.__init__))
    known = set(inspect.signature(cls).parameters) - set(cls.kinds())
    for name, value in settings.items():
        if name not in known:
            remedy = suggestion(name, known) if known else "remove it"
            raise UserError(f"{path}: {cls.__name__} has no setting {name!r}; {remedy}")
        hint = _in_tuples(hints.get(name, Any))
        try:
            fit(value, hint)
        except TypeError as error:
            raise UserError(f"{path}: the setting {name!r} {described(value, hint)}") from error
    return settings


def _in_tuples(hint: Any) -> Any:
    """A hint whose sequences are tuples, which is what `fit` knows."""
    if get_origin(hint) is Sequence:
        return tuple[get_args(hint)[0], ...]
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(_in_tuples(each) for each in get_args(hint))]  # noqa: UP007 - of a list that is computed
    return hint


class PretrainedPipeline(Publishable):
    """Gives an object made of several models its way to disk and to the Hub.

    The constructor takes each of the `parts` by its name, and every one of the `settings()`, as keywords.
    """

    parts: ClassVar[Mapping[str, type[Any]]]
    """The class of each part, by the name of its attribute, constructor argument and folder: models, or pipelines."""

    optional: ClassVar[Mapping[str, type[Any]]] = {}
    """The same of parts that may be None."""

    def models(self) -> dict[str, Any]:
        """The parts that are there, by name."""
        found = {name: getattr(self, name) for name in (*self.parts, *self.optional)}
        return {name: part for name, part in found.items() if part is not None or name in self.parts}

    @classmethod
    def kinds(cls) -> dict[str, type[Any]]:
        """The class of each part, of those too that may be None."""
        return {**cls.parts, **cls.optional}

    def settings(self) -> dict[str, Any]:
        """What the constructor takes besides the parts, fit for JSON; nothing unless overridden."""
        return {}

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast every part, as `nn.Module.to` does; returns the pipeline.

        Raises `UserError` for a device that cannot be used here.
        """
        for place in (*args, kwargs.get("device")):
            if isinstance(place, str | torch.device):
                check_device(place)
        for part in self.models().values():
            part.to(*args, **kwargs)
        return self

    _noun = "pipeline"
    _save = staticmethod(save_pipeline)
    _load = staticmethod(load_pipeline)
