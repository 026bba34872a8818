"""Saving, loading and publishing any model that has a config, and pipelines made of such models.

A model is a folder with `config.json` (its class and the fields of its config) and `model.safetensors`. A pipeline is a
folder with `pipeline_index.json` and one such folder for each part. Loading is strict, runs no code from files, and
copies nothing before names, shapes and kinds of all tensors have been compared.
"""

import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, Unpack

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from var.configs import config_from_dict, config_to_dict, read_json, to_json
from var.errors import UserError, suggestion
from var.files import atomic_file, make_folder
from var.remote import Source, create_repository, find_folder, upload

__all__ = [
    "PretrainedModel",
    "PretrainedPipeline",
    "config_from_dict",
    "config_to_dict",
    "load_model",
    "load_pipeline",
    "save_model",
    "save_pipeline",
]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PIPELINE_INDEX = "pipeline_index.json"

Model = TypeVar("Model", bound=nn.Module)
Loaded = TypeVar("Loaded", bound="PretrainedModel")  # not Self, which annotation checkers refuse in methods
Pipeline = TypeVar("Pipeline", bound="PretrainedPipeline")


class PretrainedModel:
    """Gives an `nn.Module` with a `config` (an instance of `config_class`) its way to disk and to the Hub."""

    config_class: ClassVar[type]

    def save_pretrained(self, directory: Path | str) -> None:
        """Write config and weights into `directory`; see `save_model`."""
        save_model(_module(self), directory)

    @classmethod
    def from_pretrained(
        cls: type[Loaded],
        path_or_id: Path | str,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **source: Unpack[Source],
    ) -> Loaded:
        """Load from a folder or the Hub, strictly; see `load_model`."""
        model_class: Any = cls
        return load_model(model_class, path_or_id, dtype=dtype, device=device, **source)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool = False,
        commit_message: str = "Upload model",
    ) -> str:
        """Publish on the Hub with a short model card; returns the address of the commit."""
        return _push(self.save_pretrained, type(self), repo_id, token, private, commit_message)


class PretrainedPipeline:
    """Gives an object made of several models its way to disk and to the Hub.

    The constructor takes each of the `parts` by its name, and every one of the `settings()`, as keywords.
    """

    parts: ClassVar[Mapping[str, type[nn.Module]]]
    """The class of each part, by the name of its attribute, constructor argument and folder."""

    def settings(self) -> dict[str, Any]:
        """What the constructor takes besides the parts, fit for JSON; nothing unless overridden."""
        return {}

    def save_pretrained(self, directory: Path | str) -> None:
        """Write parts and index into `directory`; see `save_pipeline`."""
        save_pipeline(self, directory)

    @classmethod
    def from_pretrained(
        cls: type[Pipeline],
        path_or_id: Path | str,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **source: Unpack[Source],
    ) -> Pipeline:
        """Load from a folder or the Hub, strictly; see `load_model`."""
        return load_pipeline(cls, path_or_id, dtype=dtype, device=device, **source)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool = False,
        commit_message: str = "Upload pipeline",
    ) -> str:
        """Publish on the Hub with a short model card; returns the address of the commit."""
        return _push(self.save_pretrained, type(self), repo_id, token, private, commit_message)


def save_model(model: nn.Module, directory: Path | str) -> None:
    """Write `model` and its `config` into `directory`; tensors that share memory are each written whole.

    Raises `UserError` if the place is not writable or the config could not be read back.
    """
    given: Any = model.config
    config = config_to_dict(given)
    config_from_dict(type(given), config, source=f"the config of {type(model).__name__}")
    text = to_json({"class": type(model).__name__, **config})
    folder = make_folder(directory)
    with atomic_file(folder / CONFIG) as config_file:
        config_file.write_text(text, encoding="utf-8")
        with atomic_file(folder / WEIGHTS) as weights_file:
            _write_weights(model, weights_file)
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
    `source` are the keywords of `var.remote.Source`: revision, token, cache_dir, local_files_only, subfolder. Raises
    `UserError` if anything is missing, unexpected, of another shape or kind, damaged, or not to be had.
    """
    _check_placement(dtype, device)
    return _load_folder(cls, find_folder(path_or_id, **source), dtype, device)


def save_pipeline(pipeline: PretrainedPipeline, directory: Path | str) -> None:
    """Write every part of `pipeline` into a folder of its own below `directory`, then the index that names them."""
    parts = {name: getattr(pipeline, name) for name in pipeline.parts}
    names = {name: type(part).__name__ for name, part in parts.items()}
    text = to_json({"class": type(pipeline).__name__, "parts": names, "settings": pipeline.settings()})
    folder = make_folder(directory)
    with atomic_file(folder / PIPELINE_INDEX) as index_file:
        index_file.write_text(text, encoding="utf-8")
        (folder / PIPELINE_INDEX).unlink(missing_ok=True)  # an older index must not stand beside new parts
        for name, part in parts.items():
            save_model(part, folder / name)


def load_pipeline(
    cls: type[Pipeline],
    path_or_id: Path | str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **source: Unpack[Source],
) -> Pipeline:
    """The pipeline of class `cls` saved in a folder or on the Hub; arguments and errors as for `load_model`."""
    _check_placement(dtype, device)
    folder = find_folder(path_or_id, **source)
    settings = _read_index(cls, folder / PIPELINE_INDEX)
    parts = {name: _load_folder(part, folder / name, dtype, device) for name, part in cls.parts.items()}
    return cls(**parts, **settings)


def _read_index(cls: type[PretrainedPipeline], path: Path) -> dict[str, Any]:
    """The settings in a pipeline's index, after everything in it has been compared with the class."""
    index = read_json(path)
    _check_class(cls, index.pop("class", None), path)
    parts, settings = index.pop("parts", None), index.pop("settings", None)
    if index:
        raise UserError(
            f"{path}: unknown key {next(iter(index))!r}; {suggestion(next(iter(index)), ('parts', 'settings'))}"
        )
    wanted = {name: part.__name__ for name, part in cls.parts.items()}
    if parts != wanted:
        raise UserError(f"{path}: {cls.__name__} has the parts {wanted}, got {parts}; load the class that was saved")
    if not isinstance(settings, dict):
        raise UserError(f"{path}: 'settings' must be a JSON object, got {settings!r}; save the pipeline again")
    known = set(inspect.signature(cls).parameters) - set(wanted)
    for name in settings:
        if name not in known:
            remedy = suggestion(name, known) if known else "remove it"
            raise UserError(f"{path}: {cls.__name__} has no setting {name!r}; {remedy}")
    return settings


def _load_folder(cls: type[Model], folder: Path, dtype: torch.dtype | None, device: torch.device | str | None) -> Model:
    path = folder / CONFIG
    values = read_json(path)
    _check_class(cls, values.pop("class", None), path)
    config_class: Any = getattr(cls, "config_class")  # noqa: B009 - any module may have one, nn.Module declares none
    config = config_from_dict(config_class, values, source=path)
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, and then replaced
        model = cls(config)
    model.to(dtype=dtype)
    _read_weights(model, folder / WEIGHTS)
    return model.to(device=device).eval()


def _check_class(cls: type, saved: Any, path: Path) -> None:
    if saved != cls.__name__:
        raise UserError(
            f"{path} must be of class {cls.__name__!r}, got {saved!r}; load it with the class that was saved"
        )


def _check_placement(dtype: torch.dtype | None, device: torch.device | str | None) -> None:
    """Refuse before anything is downloaded or built."""
    if dtype is not None and not dtype.is_floating_point:
        raise UserError(f"dtype must be a float type, got {dtype}; use torch.float32 or torch.bfloat16")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {str(device)!r} cannot be used here ({_first_line(error)}); use 'cpu'") from error


def _module(model: PretrainedModel) -> nn.Module:
    assert isinstance(model, nn.Module)
    return model


def _write_weights(model: nn.Module, path: Path) -> None:
    """One file of all parameters and persistent buffers; raises `OSError`."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().to("cpu").contiguous()
        # safetensors refuses tensors that share memory, so those after the first are copied.
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(_first_line(error)) from error


def _read_weights(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a safetensors file into `model`, after its header was compared with all of the model's."""
    wanted = model.state_dict()
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            _compare(
                wanted,
                {name: (tuple(header.get_shape()), header.get_dtype()) for name, header in found.items()},
                path,
                type(model).__name__,
            )
            with torch.no_grad():
                for name, tensor in wanted.items():
                    tensor.copy_(file.get_tensor(name))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} must be a whole safetensors file, but: {_first_line(error)}; download or save it again"
        ) from error


def _compare(
    wanted: Mapping[str, Tensor], found: Mapping[str, tuple[tuple[int, ...], str]], path: Path, class_name: str
) -> None:
    faults = [f"missing {name}" for name in wanted if name not in found]
    faults += [f"unexpected {name}" for name in found if name not in wanted]
    for name in sorted(set(wanted) & set(found)):
        (shape, kind), tensor = found[name], wanted[name]
        if shape != tuple(tensor.shape):
            faults.append(f"{name} has shape {shape} instead of {tuple(tensor.shape)}")
        # The header's kinds are F16, BF16, F32, F64, F8_E4M3 and so on; I64, U8, BOOL.
        if kind.startswith(("F", "BF")) != tensor.is_floating_point():
            faults.append(f"{name} has kind {kind} instead of {tensor.dtype}")
    if faults:
        listed = ", ".join(faults[:10]) + (f" and {len(faults) - 10} more" if len(faults) > 10 else "")
        raise UserError(
            f"{path} must hold exactly the weights of {class_name} as its config says, but: {listed}; "
            "use the config and the class with which it was saved"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _push(
    save: Callable[[Path], None], cls: type, repo_id: str, token: str | bool | None, private: bool, message: str
) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder)
        full_id = create_repository(repo_id, token=token, private=private)
        (folder / "README.md").write_text(_model_card(cls, full_id), encoding="utf-8")
        return upload(folder, full_id, token=token, commit_message=message)


def _model_card(cls: type, repo_id: str) -> str:
    package = cls.__module__.partition(".")[0]
    return f"""---
library_name: next-scale
tags:
- image-generation
- {cls.__name__}
license: mit
---

# {repo_id.rpartition("/")[2]}

```python
# pip install next-scale
from {package} import {cls.__name__}

model = {cls.__name__}.from_pretrained("{repo_id}")
```
"""
