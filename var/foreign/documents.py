"""JSON and YAML of others: bounded in size and depth, strict in form, and with fields of the right type."""

import copy
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

from var.errors import UserError, first_line
from var.foreign.regular import MOST_TEXT, LongError, open_regular, read_bytes, read_text
from var.names import shown

Kind = TypeVar("Kind")

DEEPEST = 100
"""Brackets inside each other."""
MOST_LINE = 2**20
"""Bytes of one line of JSON."""
MOST_YAML = 2**20
"""Bytes of a file of settings."""
MOST_VALUES = 100_000
"""Values that a YAML file may stand for: anchors can make 10^20 of 600 bytes."""

_LARGEST = sys.float_info.max

_WORDS: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    type(None): "null",
}


class EncodingError(UserError):
    """A text that is no UTF-8: what it would say is not known."""


def parse_json(content: str | bytes, source: object, kind: type[Kind] = dict, *, remedy: str = "save it again") -> Kind:
    """The JSON value of the `kind` dict or list that `content` says; `source` stands for it in messages.

    Raises `UserError` for what is no JSON of that kind, for NaN, infinity and keys given twice, and for more than
    `DEEPEST` brackets inside each other; for what is no UTF-8, `EncodingError`.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        values = _DECODER.decode(text)
        _check_depth(text)
    except UnicodeDecodeError as error:
        found = f"it has byte {error.object[error.start]:#04x} at {error.start}, which is no UTF-8"
        raise EncodingError(f"{source} must be readable JSON, but: {found}; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = shown(first_line(error)) if isinstance(error, ValueError) else "its brackets are too deep"
        raise UserError(f"{source} must be readable JSON, but: {reason}; {remedy}") from error
    if not isinstance(values, kind):
        raise UserError(f"{source} must hold {_called(kind)}, got {_called(type(values))}; {remedy}")
    return values


def read_json(path: Path | str, kind: type[Kind] = dict, *, most: int = MOST_TEXT) -> Kind:
    """The JSON value of the `kind` dict or list in a file; errors as for `parse_json` and `read_bytes`."""
    return parse_json(read_bytes(path, most=most, what="a JSON file"), path, kind)


def object_in_line(line: bytes, path: Path | str, number: int) -> dict[str, Any]:
    """The JSON object in a line of a file; raises `UserError`, with the line, for anything else."""
    return parse_json(line, f"{path}, line {number}", remedy="correct the line")


def lines_of_json(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """The number, from 1, and the content of every line in a file that is not blank.

    Raises `UserError`, with the line, for one longer than `MOST_LINE`; else as `open_regular`.
    """
    with open_regular(path, "a file of JSON lines") as file:
        for number in itertools.count(1):
            try:
                line = file.readline(MOST_LINE + 1)
            except OSError as error:
                raise UserError(f"{path} must be readable, but: {error.strerror}; look at the disk") from error
            if len(line) > MOST_LINE:
                raise LongError(
                    f"{shown(f'{path}, line {number}')} must have at most {MOST_LINE:,} bytes, got more; shorten it"
                )
            if not line:
                return
            if line.strip():
                yield number, line


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file, by the rules of YAML 1.2's core: 1:30, on, 010 and dates are texts, 1e-4 a number.

    Raises `UserError` for what is no mapping with texts as keys, keys given twice, and anchors that stand for more than
    `MOST_VALUES` values; errors as for `read_text`.
    """
    text = read_text(path, most=MOST_YAML, what="a YAML file")
    try:
        values = copy.deepcopy(_yaml_value(text))
    except RecursionError as error:
        raise _unreadable(path, "it is too deep") from error
    except Exception as error:  # the library's own kinds, and what its constructors happen to raise
        raise _unreadable(path, " ".join(str(error).split()) or type(error).__name__) from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold names with values, got {_called(type(values))}; correct it")
    return values


@lru_cache(maxsize=8)
def _yaml_value(text: str) -> Any:
    """What a text says, nothing being an empty mapping. A run reads its settings several times, for 10 ms each."""
    node = yaml.compose(text, Loader=_Loader)
    if node is None:
        return {}
    _check_node(node)
    return _Loader("").construct_document(node)


def yaml_text(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that `read_yaml`, and readers of older versions of YAML, read as they are."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, default_flow_style=None)


def taken(values: Mapping[str, Any], name: str, kind: Any, source: object, *, remedy: str = "save it again") -> Any:
    """The field `name` of a document, which must be of the `kind`: a type, or a union such as `int | None`.

    A whole number is a float too, but true is no number. Raises `UserError`, which names `source`, if the field is
    missing or of another type.
    """
    if name not in values:
        raise UserError(f"{source} must have {name!r}, but it is missing; {remedy}")
    value = values[name]
    kinds = get_args(kind) or (kind,)
    as_float = float in kinds and type(value) is int
    if (type(value) not in kinds and not as_float) or (as_float and not -_LARGEST <= value <= _LARGEST):
        wanted = " or ".join(_called(each) for each in kinds)
        raise UserError(f"{source}: {name!r} must be {wanted}, got {repr(value)[:100]}; {remedy}")
    return float(value) if as_float and int not in kinds else value


def _called(kind: type) -> str:
    return _WORDS.get(kind, kind.__name__)


def _unreadable(path: Path | str, reason: str) -> UserError:
    return UserError(f"{path} must be readable YAML, but: {reason}; correct it")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"{_double([name for name, _ in pairs])!r} is given twice")
    return values


# One for all: a file may hold a million documents, a line each.
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_doubles)


def _double(names: Sequence[str]) -> str | None:
    """The first name that comes a second time."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def _check_depth(text: str) -> None:
    """Raise where brackets lie too deep, which the parser itself allows up to the interpreter's own limit."""
    # Only as many as the whole text has can lie inside each other: most documents are done here.
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    depth = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} brackets lie inside each other")


_TEXT = "tag:yaml.org,2002:str"
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: words and numbers only where a reader would see them."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - the library's own form


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"(?:0|[-+]?[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[1-9][0-9]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that either version of YAML would take for something else, such as 1e5 and 1:30."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own form
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
            *_Loader.yaml_implicit_resolvers.get(first, ()),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:
        """Write out what stands in two places twice."""
        return True


def _check_node(root: yaml.Node) -> None:
    """Raise unless the nodes are plain, and few enough even where anchors are written out."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > DEEPEST:
            raise ValueError("it lies too deep, or an anchor stands inside itself")
        if id(node) in sizes:
            return sizes[id(node)]
        if node.tag not in _TAGS:
            raise ValueError(f"line {node.start_mark.line + 1}: values are plain, got the tag {node.tag!r:.60}")
        total = 1
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                if key.tag != _TEXT:
                    raise ValueError(f"line {key.start_mark.line + 1}: a name must be a text, got {key.value!r:.40}")
            if (double := _double([key.value for key, _ in node.value])) is not None:
                raise ValueError(f"line {node.start_mark.line + 1} or below: {double!r} is given twice")
            total += sum(size(value, depth + 1) for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(size(value, depth + 1) for value in node.value)
        if total > MOST_VALUES:
            raise ValueError(f"it stands for more than {MOST_VALUES:,} values")
        sizes[id(node)] = total
        return total

    size(root, 0)
