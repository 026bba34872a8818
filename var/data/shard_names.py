"""The files that one text names: braces that count or list, as webdataset writes them, and the stars of a shell."""

import glob
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from var.data.entries import lies_left_out
from var.errors import UserError
from var.paths import expanded

MOST_SHARDS = 100_000
MOST_BRACES = 20

_RANGE = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")
_STARS = re.compile(r"[*?\[]")


def is_pattern(spec: str) -> bool:
    """Whether `spec` may name several files."""
    return _STARS.search(spec) is not None or _first_brace(spec) is not None


def expand_shards(spec: str) -> list[Path]:
    """The files that `spec` names, those of each pattern sorted, at most `MOST_SHARDS`.

    "a-{00..12}.tar" are the 13 files a-00 to a-12, "{a,b}.tar" are two, "a-*.tar" those that are there ("**" looks into
    folders too). Raises `UserError` for braces that count downwards, for stars that match nothing, and for too many.
    """
    if spec.count("{") > MOST_BRACES:
        raise UserError(f"shards must be named with at most {MOST_BRACES} braces, got {spec.count('{')}; name fewer")
    texts = list(islice(_alternatives(spec), MOST_SHARDS + 1))
    paths: list[Path] = []
    for text in texts:
        paths += _matching(text) if _STARS.search(text) and not expanded(text).exists() else [expanded(text)]
        if max(len(paths), len(texts)) > MOST_SHARDS:
            raise UserError(f"there may be at most {MOST_SHARDS} shards, got more by {spec!r}; make fewer, larger ones")
    return paths


def _matching(text: str) -> list[Path]:
    found = islice(glob.iglob(str(expanded(text)), recursive=True), MOST_SHARDS + 1)
    paths = sorted(Path(name) for name in found if not lies_left_out(Path(name).name))
    if not paths:
        raise UserError(f"the pattern {text!r} must match tar files, got none; check the path")
    return paths


def _alternatives(spec: str) -> Iterator[str]:
    """`spec` with its braces written out, the last one fastest."""
    place = _first_brace(spec)
    if place is None:
        yield spec
        return
    start, end = place
    for choice in _choices(spec[start + 1 : end - 1]):
        for before in _alternatives(choice):
            yield from (spec[:start] + before + after for after in _alternatives(spec[end:]))


def _choices(inside: str) -> Iterator[str]:
    if (found := _RANGE.fullmatch(inside)) is None:
        yield from _split(inside)
        return
    first, last, step = found.groups()
    if int(first) > int(last) or (step is not None and int(step) < 1):
        raise UserError(f"braces must count upwards, got {{{inside}}}; swap the numbers")
    for number in range(int(first), int(last) + 1, int(step or 1)):
        yield f"{number:0{len(first)}d}"


def _first_brace(spec: str) -> tuple[int, int] | None:
    """Where the first brace that lists or counts begins and ends; others, as {x}, are letters like any."""
    for start in (place for place, letter in enumerate(spec) if letter == "{"):
        depth = 0
        for place in range(start, len(spec)):
            depth += {"{": 1, "}": -1}.get(spec[place], 0)
            if depth == 0:
                inside = spec[start + 1 : place]
                if _RANGE.fullmatch(inside) or len(list(_split(inside))) > 1:
                    return start, place + 1
                break
    return None


def _split(inside: str) -> Iterator[str]:
    """The parts between the commas that lie in no further brace."""
    depth, begin = 0, 0
    for place, letter in enumerate(inside):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield inside[begin:place]
            begin = place + 1
    yield inside[begin:]
