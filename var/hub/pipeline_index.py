"""What is saved of a pipeline besides its parts: its class, the classes of these, settings, and terms if known."""

import inspect
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from var.errors import UserError, suggestion
from var.foreign.documents import taken
from var.hub.building import usual_types
from var.hub.models import saved_class
from var.hub.wrappers import unwrapped
from var.names import shown
from var.terms import Terms
from var.typed import described, fit

Pipeline = TypeVar("Pipeline")


def pipeline_index(pipeline: Any) -> dict[str, Any]:
    """Class, classes of the parts, settings and terms, fit for JSON."""
    names = {name: type(unwrapped(each)).__name__ for name, each in pipeline.models().items()}
    own = {"class": type(pipeline).__name__, "parts": names, "settings": pipeline.settings()}
    return own | pipeline.terms.entry()


def is_nested(part: Any) -> bool:
    """Whether a part of a pipeline, or the class of one, is a pipeline itself."""
    return hasattr(part, "kinds")


def checked_index(
    cls: type[Any], index: dict[str, Any], path: Path
) -> tuple[type[Any], list[str], dict[str, Any], Terms]:
    """Class, names of parts, settings and terms in an `index`, as `path` says it, compared with the class."""
    cls = saved_class(cls, index.pop("class", None), path)
    parts, settings = index.pop("parts", None), index.pop("settings", None)
    terms = taken({"terms": index.pop("terms", {})}, "terms", dict, path)
    for given, known in ((index, ("parts", "settings", "terms")), (terms, Terms._fields)):
        for odd in [key for key in given if key not in known]:
            raise UserError(f"{path}: unknown key {odd!r}; {suggestion(odd, known)}")
    wanted = {name: part.__name__ for name, part in cls.parts.items()}
    if not isinstance(parts, dict) or not wanted.keys() <= parts.keys() <= cls.kinds().keys():
        found = shown(parts)
        raise UserError(f"{path}: {cls.__name__} has the parts {wanted}, got {found}; load the class that was saved")
    for name in parts:
        saved_class(cls.kinds()[name], parts[name], path)
    if not isinstance(settings, dict):
        found = shown(repr(settings))
        raise UserError(f"{path}: 'settings' must be a JSON object, got {found}; save the pipeline again")
    read = Terms.read(terms, f"{path}: its terms", "save the pipeline again")
    return cls, list(parts), _checked_settings(cls, settings, path), read


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


def put_together(
    cls: type[Pipeline], parts: Mapping[str, Any], settings: Mapping[str, Any], terms: Terms, path: Path
) -> Pipeline:
    """The pipeline of these; whatever its constructor refuses is said of `path`."""
    with usual_types():
        try:
            pipeline: Any = cls(**parts, **settings)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    if terms.said():
        pipeline.terms = terms
    return pipeline
