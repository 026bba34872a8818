"""The settings of a run: nested frozen dataclasses, overridden by files and by `key=value`, typed and checked."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from var import nested
from var.aliases import called_here
from var.configs import config_from_dict
from var.errors import UserError, suggestion
from var.files import write_text
from var.foreign.documents import read_yaml, yaml_text
from var.nested import leaves, plain

Settings = TypeVar("Settings")

FACTS = "run"
"""The group in a run's file that tells what was trained on what; it is no setting."""


def settings_to_dict(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, those of dataclasses within it nested; tuples become lists, as JSON has it."""
    return plain(dataclasses.asdict(settings))


def settings_from_dict(cls: type[Settings], values: Mapping[str, Any], source: str = "the settings") -> Settings:
    """The inverse of `settings_to_dict`; fields that are left out take their defaults.

    A value is read as its field wants it, so that the text "1e-4" is a number where a number belongs. Raises
    `UserError`, which names `source` and the dotted field, for an unknown field and a value of the wrong type.
    """
    return _build(cls, values, source, "")


def overridden(settings: Settings, *, files: Sequence[Path] = (), assignments: Sequence[str] = ()) -> Settings:
    """`settings` with fields replaced by those in YAML or JSON `files`, then by `assignments` as `name.field=value`.

    Raises `UserError` for an unknown field, with the nearest known ones, a value of the wrong type, a file that cannot
    be read, and whatever a config refuses.
    """
    changes = [(str(path), pair) for path in files for pair in _told(path)]
    changes += [(f"--set {text}", _assignment(text)) for text in assignments]
    fault: UserError | None = None
    # With all of them; if that fails with fewer, so that the one is named that made good settings bad.
    for number in range(len(changes), -1, -1):
        try:
            changed = _changed(settings, changes[:number])
        except UserError as error:
            fault = error
        else:
            if fault is None:
                return changed
            break
    assert fault is not None
    raise fault


def _told(path: Path) -> list[tuple[str, Any]]:
    """The settings in a file; the facts that a run's own file tells are none."""
    found = list(leaves({**read_settings(path), FACTS: {}}))
    names = [name for name, _ in found]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path} gives {double!r} twice; keep one")
    return found


def _changed(settings: Settings, changes: Sequence[tuple[str, tuple[str, Any]]]) -> Settings:
    """`settings` with (source, (name, value)) put into them; the last source stands in messages for all."""
    values = settings_to_dict(settings)
    given = {name for _, (name, _) in changes}
    for source, (name, value) in changes:
        _put(values, name, value, source)
        for detail, default in _details(type(settings), name):
            if detail not in given:
                _put(values, detail, default, source)
    return settings_from_dict(type(settings), values, changes[-1][0] if changes else "the settings")


def _details(cls: Any, name: str) -> list[tuple[str, Any]]:
    """The settings that only say more `of` the one called `name`, and their defaults, which hold for another value."""
    *groups, leaf = name.split(".")
    for group in groups:
        cls = get_type_hints(cls).get(group)
        if not dataclasses.is_dataclass(cls):
            return []
    fields = [each for each in dataclasses.fields(cls) if each.metadata.get("of") == leaf]
    return [(".".join([*groups, each.name]), each.default) for each in fields]


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file; raises `UserError` if there is none."""
    return read_yaml(path)


def write_settings(path: Path, values: Mapping[str, Any]) -> None:
    """Write nested settings as YAML, whole or not at all."""
    write_text(path, yaml_text(values))


def differences(saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The fields in which two runs' settings differ, in words: `training.steps was 100, now 200`."""
    found = nested.differences(dict(leaves(saved)), dict(leaves(given)), absent="not there")
    return [f"{name} was {before!r}, now {after!r}" for name, before, after in found]


def _put(values: dict[str, Any], name: str, value: Any, source: str) -> None:
    """Replace the leaf `name` of nested `values`; a whole group is replaced leaf by leaf."""
    *groups, leaf = name.split(".")
    place: Any = values
    for group in groups:
        place = place.get(group) if isinstance(place, dict) else None
    if not isinstance(place, dict) or leaf not in place or isinstance(place[leaf], dict):
        raise UserError(f"{source}: unknown setting {name!r}; {_nearest(name, values)}")
    place[leaf] = value


def _nearest(name: str, values: Mapping[str, Any]) -> str:
    """The settings that `name` may mean: of the same last word, called so elsewhere, or spelt alike."""
    known = [known for known, _ in leaves(values)]
    group, _, leaf = name.rpartition(".")
    same = [other for other in known if leaf in other.split(".")]
    same += [other for ours in called_here(leaf) for other in known if f".{other}".endswith(f".{ours}")]
    same.sort(key=lambda other: not other.startswith(f"{group}."))  # those of the group that was named first
    if same:
        return f"did you mean {' or '.join(map(repr, dict.fromkeys(same[:3])))}?"
    near = suggestion(name, known)
    if near.startswith("did you mean"):
        return near
    inside = [other for other in known if other.startswith(f"{group}.")] if group else []
    return suggestion(name, inside or [*values])


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"an override must be written name=value, got {text!r}; for example training.steps=100")
    return name.strip(), value.strip()


def _build(cls: Any, values: Mapping[str, Any], source: str, prefix: str) -> Any:
    hints = get_type_hints(cls)
    groups = {n: v for n, v in values.items() if dataclasses.is_dataclass(hints.get(n)) and isinstance(v, Mapping)}
    built = {name: _build(hints[name], value, source, f"{prefix}{name}.") for name, value in groups.items()}
    where = f"{source}: {prefix.removesuffix('.')}" if prefix else source
    return config_from_dict(cls, {**values, **built}, where, texts=True)
