"""Logs of JSON lines, which may end in the middle of one: every whole line counts, whatever the others are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from var.foreign.regular import open_regular

MOST_LINE = 2**20
"""Bytes of a line; what is longer is none of a log's."""


def read_log(path: Path | str) -> Iterator[dict[str, Any]]:
    """The lines of a log that are whole: objects of texts and numbers, which may be NaN here; others are passed over.

    Raises `UserError` as `open_regular` does.
    """
    with open_regular(path, "a log") as file:
        while line := file.readline(MOST_LINE):
            try:
                entry = json.loads(line.decode())
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and all(_is_plain(value) for value in entry.values()):
                yield entry


def _is_plain(value: Any) -> bool:
    return type(value) in (str, float) or (type(value) is int and abs(value) < 2**63)
