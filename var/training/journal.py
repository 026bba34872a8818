"""The numbers of a run: means over windows of steps, kept in memory and written as JSON lines."""

import json
from pathlib import Path

from torch import Tensor


class Journal:
    """Collects a row every `every` steps; `path` (if given) receives it as a JSON line at once."""

    def __init__(self, path: Path | None, every: int) -> None:
        self.path = path
        self.every = every
        self.rows: list[dict[str, float]] = []
        self._window: list[dict[str, float | Tensor]] = []
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")

    def add(self, step: int, numbers: dict[str, float | Tensor], *, last: bool = False) -> None:
        """Take the numbers of `step` (from 0); tensors are read only when a row is due, so no step waits for them."""
        self._window.append(numbers)
        if len(self._window) < self.every and not last:
            return
        names = {name: None for numbers in self._window for name in numbers}
        row = {"step": float(step + 1)} | {name: self._mean(name) for name in names}
        self._window.clear()
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def _mean(self, name: str) -> float:
        values = [float(numbers[name]) for numbers in self._window if name in numbers]
        return sum(values) / len(values)
