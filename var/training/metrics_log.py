"""The numbers of a run: means over windows of steps and over processes, kept in memory and written as JSON lines."""

import json
from collections.abc import Callable, Mapping
from math import fsum, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from var.files import append_text, sync_file, write_text
from var.foreign.logs import read_log
from var.paths import kind_of_file

Row = dict[str, float]
Values = dict[str, list[float]]


class MetricsLog:
    """Collects a row every `every` steps; `path` (if given) receives it as a JSON line at once.

    Args:
        path: the file; one process writes it. An existing file is continued after the step `start`.
        every: steps per row.
        start: steps done by earlier runs. Later rows in the file, which will come again, and a half-written line are
            removed.
        window: what `saved()` gave when those runs were saved.
        gather: gives the argument of every process on every process; all of them must call `add` alike.
        listen: is told of every row.
    """

    def __init__(
        self,
        path: Path | None,
        every: int,
        *,
        start: int = 0,
        window: Mapping[str, Any] | None = None,
        gather: Callable[[Values], list[Values]] = lambda values: [values],
        listen: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self.path = path
        self.every = every
        self.rows: list[Row] = []
        self._window: list[dict[str, float | Tensor]] = []
        self._gather = gather
        self._listen = listen
        earlier = (window or {}).get("values", {})
        self._earlier: Values = {name: [float(value) for value in values] for name, values in earlier.items()}
        self._earlier_steps: int = (window or {}).get("steps", 0)
        if path is not None:
            entries = _entries_until(path, start)
            self.rows = [entry for entry in entries if not any(isinstance(value, str) for value in entry.values())]
            write_text(path, "".join(map(_line, entries)))

    def add(self, step: int, numbers: dict[str, float | Tensor], *, last: bool = False) -> bool:
        """Take the numbers of `step` (from 0), and say whether they completed a row; only then are tensors read."""
        self._window.append(numbers)
        if self._earlier_steps + len(self._window) < self.every and not last:
            return False
        values = self._waiting()
        self._window, self._earlier, self._earlier_steps = [], {}, 0
        self.write(step + 1, {name: _mean(numbers) for name, numbers in values.items()})
        return True

    def write(self, done: int, numbers: Mapping[str, float]) -> None:
        """Write a row after `done` steps."""
        row = {"step": float(done), **numbers}
        self.rows.append(row)
        self._listen(row)
        self._append(row)

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self.path is not None:
            append_text(self.path, _line(entry))

    def note(self, done: int, text: str) -> None:
        """Write a sentence about the run after `done` steps; it is no row."""
        self._append({"step": float(done), "warning": text})

    def saved(self) -> dict[str, Any]:
        """The numbers that wait for their row, of all processes, as JSON can say them; all rows are on the disk."""
        if self.path is not None:
            sync_file(self.path)
        waiting = self._waiting()
        # JSON has no NaN and no infinity, but float() reads their names.
        values = {name: [v if isfinite(v) else str(v) for v in numbers] for name, numbers in waiting.items()}
        return {"steps": self._earlier_steps + len(self._window), "values": values}

    def _waiting(self) -> Values:
        parts = [self._earlier, *self._gather(_values(self._window))]
        names = {name: None for part in parts for name in part}
        return {name: [value for part in parts for value in part.get(name, ())] for name in names}


def _values(window: list[dict[str, float | Tensor]]) -> Values:
    names = {name: None for numbers in window for name in numbers}
    return {name: _floats([numbers[name] for numbers in window if name in numbers]) for name in names}


def _floats(values: list[float | Tensor]) -> list[float]:
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) < len(values) or len({(value.dtype, value.device) for value in tensors}) > 1:
        return [float(value) for value in values]
    return [float(value) for value in torch.stack([value.reshape(()) for value in tensors]).tolist()]


def _mean(values: list[float]) -> float:
    # fsum is exact in any order: a run that was interrupted, or spread over processes, logs the same number.
    return (fsum(values) if all(map(isfinite, values)) else sum(values)) / len(values)


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"


def _entries_until(path: Path, step: int) -> list[dict[str, Any]]:
    """The lines in `path` up to `step`; a killed process may have left its last line half-written."""
    if step == 0 or kind_of_file(path) is None:
        return []
    entries = (entry for entry in read_log(path) if isinstance(entry.get("step"), int | float))
    return [entry for entry in entries if entry["step"] <= step]
