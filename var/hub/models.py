"""Models as folders: a config and weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import isabstract
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, Unpack

import torch
from torch import Tensor, nn

from var.configs import config_from_dict, config_to_dict, to_json
from var.errors import UserError
from var.files import atomic_text
from var.foreign.weights import ordinary_tensors
from var.hub.building import Stored, build, check_buildable
from var.hub.kinds import OtherKindError, read_key, saved_name
from var.hub.layout import CONFIG, MOST_CONFIG, PIPELINE_INDEX
from var.hub.locking import FolderLock, read_whole
from var.hub.packaged import models_folder
from var.hub.placement import DType, check_placement, chosen_dtype
from var.hub.publishing import Publishable, with_page
from var.hub.reading import SavedWeights, saved_weights
from var.hub.remote import Source, find_folder
from var.hub.wrappers import plain_state, unwrapped
from var.hub.writing import new_folder, parse_size, written_weights
from var.keywords import known_keywords
from var.paths import expanded
from var.weights import kinds_of

Model = TypeVar("Model", bound=nn.Module)
Class = TypeVar("Class")


@known_keywords
def save_model(model: nn.Module, directory: Path | str, *, max_shard_size: int | str = "5GB") -> None:
    """Write `model` and its `config` into `directory`; tensors that share memory are each written whole.

    What compilation or distributed training has wrapped around it, or around parts of it, is left out. Weights of more
    than `max_shard_size` (bytes, or such as "5GB" = 5 * 10^9) are divided among several files. Killed at any moment, it
    leaves a folder that loads as the old model or the new one, or that does not load for want of a config; if it fails,
    the old model is as it was. Raises `UserError` if the place is not writable, holds a pipeline, or what is saved
    could not be loaded.
    """
    limit = parse_size(max_shard_size)
    with written_model(checked_model(model), expanded(directory), limit):
        pass


class SavedForm(NamedTuple):
    """What is written of a model."""

    config: str  # its file
    tensors: Mapping[str, Tensor]


def checked_model(model: Any, wanted: type[nn.Module] = nn.Module) -> SavedForm:
    """A model as it is saved; raises `UserError` if it would not come back as a `wanted` one with the same weights."""
    model = unwrapped(model)
    cls, given = type(model), getattr(model, "config", None)
    if (
        not isinstance(model, wanted)
        or given is None
        or not isinstance(given, getattr(cls, "config_class", type(given)))
    ):
        need = wanted.__name__ if wanted is not nn.Module else "a model with a config"
        raise UserError(f"what is saved must be {need}, which can be loaded again, got {cls.__name__}; unwrap it first")
    config: Any = config_to_dict(given)
    config_from_dict(type(given), config, source=f"the config of {cls.__name__}")
    text = to_json({"class": cls.__name__, **config})
    tensors = plain_state(model)
    rule = f"{cls.__name__} must hold exactly the weights that its config says, or it could not be loaded"
    stored = Stored(kinds=kinds_of(tensors), rule=rule, remedy="merge or remove what was added to it")
    check_buildable(cls, given, stored)
    return SavedForm(text, tensors)


@contextmanager
def written_model(form: SavedForm, folder: Path, limit: int) -> Iterator[None]:
    """Write a model into `folder` under temporary names, which become final when the block ends."""
    with new_folder(folder), FolderLock(folder) as lock:
        if (folder / PIPELINE_INDEX).exists():
            raise UserError(
                f"{folder} holds a pipeline, which a single model must not be mixed with; save into another one"
            )
        with atomic_text(folder / CONFIG, form.config), written_weights(form.tensors, folder, limit):
            yield
            lock.hold()
            # An older config must at no moment stand beside the new weights.
            (folder / CONFIG).unlink(missing_ok=True)


@known_keywords
def load_model(
    cls: type[Model],
    path_or_id: Path | str,
    *,
    dtype: DType = None,
    torch_dtype: DType = None,
    device: torch.device | str | None = None,
    **source: Unpack[Source],
) -> Model:
    """The model of class `cls` saved in a folder, or on the Hub under "name" or "owner/name", in eval mode.

    "next-scale/NAME" is a model that comes with the package of the class, and never asked of the Hub.
    `dtype` (a float type, its name, or "auto"; `torch_dtype` is another name of it) and `device` default to what was
    saved (float32 for models that come with the package, which are stored in bfloat16), on the CPU, whatever torch's
    defaults are; the global random stream is left as it was. `source` are the keywords of `var.hub.remote.Source`:
    revision, token, cache_dir, local_files_only, subfolder. Raises `UserError` if anything is missing, unexpected, of
    another shape or kind, damaged, not finite, or not to be had.
    """
    kind = chosen_dtype(dtype, torch_dtype)
    check_placement(device)
    package = getattr(cls, "package", Publishable.package)
    folder = find_folder(path_or_id, (), package, **source)
    return with_page(load_folder(cls, folder, kind or packaged_type(folder, package), device), folder)


def packaged_type(folder: Path, package: str) -> torch.dtype | None:
    """In which type a model in `folder` computes if no other is asked for; None is that in which it was saved."""
    return torch.float32 if folder.resolve().is_relative_to(models_folder(package)) else None


def load_folder(cls: type[Model], folder: Path, dtype: torch.dtype | None, device: torch.device | str | None) -> Model:
    """The model in a local folder; see `load_model`."""
    path = folder / CONFIG
    if not path.exists() and (folder / PIPELINE_INDEX).exists():
        raise OtherKindError(
            f"{folder} must hold a single {cls.__name__}, but it holds a pipeline",
            saved_name(folder),
            "load that, or give the name of a part as subfolder",
        )
    return read_whole(path, lambda: _read_folder(cls, folder, dtype, device))


def _read_folder(cls: type[Model], folder: Path, dtype: torch.dtype | None, device: Any) -> Model:
    path = folder / CONFIG
    return built_model(cls, read_key(path, MOST_CONFIG), path, lambda: saved_weights(folder), dtype, device)


def built_model(
    cls: type[Model],
    values: dict[str, Any],
    path: Path,
    headers: Callable[[], SavedWeights],
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Model:
    """The model that `values`, its config as `path` says it, and the weights in `headers` make."""
    with ordinary_tensors():
        cls = saved_class(cls, values.pop("class", None), path)
        config_class: Any = getattr(cls, "config_class")  # noqa: B009 - any module may have one
        weights = headers()
        weights.check_sizes(values, path)
        config = config_from_dict(config_class, values, source=path)
        model = build(cls, config, weights.stored(cls.__name__))
        state = weights.read(model.state_dict(keep_vars=True), dtype, device)
        model.load_state_dict(state, assign=True)
        # What is computed from the config instead of saved goes with the rest.
        kinds = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
        kind = dtype or (kinds.pop() if len(kinds) == 1 and kinds != {torch.float32} else None)
        return model.to(dtype=kind, device=device).eval()


def saved_class(cls: type[Class], saved: Any, path: Path) -> type[Class]:
    """The class that was saved: `cls`, or one of its subclasses that have been imported; nothing is imported for it."""
    known = {each.__name__: each for each in family(cls)}
    if not isinstance(saved, str) or saved not in known:
        listed = " or ".join(sorted(repr(name) for name, each in known.items() if not isabstract(each)))
        raise OtherKindError(
            f"{path} must be of class {listed}, got {saved!r}",
            str(saved),
            "load the class that was saved, after its import",
        )
    return known[saved]


def family(cls: type[Class]) -> Iterator[type[Class]]:
    """A class and all its subclasses that have been imported."""
    yield cls
    for subclass in cls.__subclasses__():
        yield from family(subclass)


class PretrainedModel(Publishable):
    """Gives an `nn.Module` with a `config` (an instance of `config_class`) its way to disk and to the Hub."""

    config_class: ClassVar[type]

    _noun = "model"
    _save = staticmethod(save_model)
    _load = staticmethod(load_model)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        """What moves and casts a module: its weights may enter autograd afterwards, wherever that is done."""
        with torch.inference_mode(False):
            return super()._apply(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
