"""Pipelines as one safetensors file: the tensors of each part below its name, all else as JSON in the header.

The tensor `blocks.0.mlp.fc1.weight` of a part `model` is called `model.blocks.0.mlp.fc1.weight`. The header's metadata
have one key, `next-scale`: the JSON of `pipeline_index.json`, with the `config.json` of each part, by its name, as
"configs". A part that is a pipeline itself has such a document there, and its parts' names below its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from var.configs import to_json
from var.errors import UserError, listed
from var.files import atomic_file
from var.foreign.documents import parse_json, taken
from var.foreign.weights import Kind, opened_tensors, save_tensors
from var.hub.layout import MOST_INDEX
from var.hub.locking import read_whole
from var.hub.models import built_model, checked_model
from var.hub.pipeline_index import checked_index, is_nested, pipeline_index, put_together
from var.hub.reading import SavedWeights
from var.paths import expanded
from var.weights import LISTED

KEY = "next-scale"
ENDING = ".safetensors"

Pipeline = TypeVar("Pipeline")


def save_single_file(pipeline: Any, path: Path | str) -> None:
    """Write `pipeline` into one file, whole or not at all; raises `UserError` as `save_pipeline` does."""
    path = expanded(path)
    if path.suffix != ENDING:
        raise UserError(f"the file of a pipeline must end in {ENDING}, got {path}; rename it")
    tensors: dict[str, Tensor] = {}
    text = to_json(_document(pipeline, "", tensors))
    with atomic_file(path) as temporary:
        save_tensors(temporary, tensors, {KEY: text})


def _document(pipeline: Any, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What the header says of a pipeline, whose tensors are added to those of the file."""
    configs: dict[str, Any] = {}
    for name, part in pipeline.models().items():
        place = f"{prefix}{name}."
        if is_nested(part):
            configs[name] = _document(part, place, tensors)
        else:
            form = checked_model(part, pipeline.kinds()[name])
            configs[name] = parse_json(form.config, name)
            tensors.update({place + each: tensor for each, tensor in form.tensors.items()})
    return {**pipeline_index(pipeline), "configs": configs}


def load_single_file(
    cls: type[Pipeline], path: Path | str, *, dtype: torch.dtype | None, device: torch.device | str | None
) -> Pipeline:
    """The pipeline of class `cls` in the file, of which names and shapes are compared before its tensors are read.

    Raises `UserError` if anything is missing, unexpected, of another shape or kind, damaged, or not finite.
    """
    path = expanded(path)
    official = "; official checkpoints are read by from_original" if hasattr(cls, "from_original") else ""
    remedy = f"write one by save_single_file, or load a saved folder by from_pretrained{official}"
    if path.suffix != ENDING:
        raise UserError(f"the file of a pipeline must end in {ENDING}, got {path}; {remedy}")

    def read() -> Pipeline:
        with opened_tensors(path) as file:
            text, kinds = file.metadata().get(KEY), file.kinds()
        if text is None or len(text) > MOST_INDEX:
            found = "none" if text is None else f"{len(text)} characters"
            raise UserError(
                f"{path} must say its pipeline in its header, in at most {MOST_INDEX}, got {found}; {remedy}"
            )
        return _read(cls, parse_json(text, path), _Content(path, kinds), "", dtype, device)

    return read_whole(path, read)


class _Content:
    """The tensors of a file, of which only the header has been read."""

    def __init__(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        self.path, self.kinds = path, kinds

    def below(self, prefix: str) -> SavedWeights:
        """Those of the part that has this prefix."""
        own = {name.removeprefix(prefix): kind for name, kind in self.kinds.items() if name.startswith(prefix)}
        return SavedWeights({self.path: own}, self.path, prefix)

    def check_places(self, prefix: str, names: Sequence[str]) -> None:
        """Raise `UserError` for a tensor below a prefix that is of none of the parts."""
        places = tuple(f"{prefix}{name}." for name in names)
        stray = [name for name in self.kinds if name.startswith(prefix) and not name.startswith(places)]
        if stray:
            said = listed(stray, LISTED)
            raise UserError(
                f"{self.path} must hold the tensors of its parts only, but: unexpected {said}; save it again"
            )


def _read(
    cls: type[Any],
    document: dict[str, Any],
    content: _Content,
    prefix: str,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Any:
    path = content.path
    configs = taken(document, "configs", dict, path)
    del document["configs"]
    cls, names, settings, terms = checked_index(cls, document, path)
    if configs.keys() != set(names):
        raise UserError(f"{path}: 'configs' must be of the parts {names}, got {list(configs)}; save it again")
    content.check_places(prefix, names)
    parts: dict[str, Any] = {}
    for name in names:
        kind, place, config = cls.kinds()[name], f"{prefix}{name}.", taken(configs, name, dict, path)
        if is_nested(kind):
            parts[name] = _read(kind, config, content, place, dtype, device)
        else:
            parts[name] = built_model(kind, config, path, lambda place=place: content.below(place), dtype, device)
    return put_together(cls, parts, settings, terms, path)
