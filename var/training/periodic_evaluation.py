"""Evaluation of a model every so many steps while it trains, and its best weights."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from torch import nn

from var.configs import config_to_dict, to_json
from var.errors import UserError, suggestion
from var.files import atomic_file, set_aside, write_text
from var.foreign.documents import parse_json, taken
from var.foreign.weights import opened_tensors, save_tensors
from var.training.state import TrainingState

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
BEST = "best"
"""The one key of its metadata, since several would be written in an order that differs; older files have three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicEvaluation:
    """What is done with the averaged weights every so many steps, and after the last one."""

    every: int  # steps
    run: Callable[[int, nn.Module], Mapping[str, float]]
    """(steps done, the task's model in eval mode) -> numbers for the log; called on the main process without gradients.

    The model holds the averaged weights (if on). The global random streams are keyed by the step and put back.
    """
    best: str | None = None  # a number of `run`; the weights with its lowest value are kept in the checkpoints' `best`

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"evaluations must be at least 1 step apart, got every={self.every}; raise it")

    def due(self, done: int, steps: int) -> bool:
        """Whether it is time after `done` of `steps` steps."""
        return done % self.every == 0 or done == steps

    def numbers(self, state: TrainingState, done: int, folder: Path | None) -> Mapping[str, float]:
        """The numbers after `done` steps, on every process; `folder` is that of the checkpoints, which gets `best`."""

        def work() -> Mapping[str, float]:
            numbers = {name: float(value) for name, value in self.run(done, model).items()}
            if self.best is not None and folder is not None:
                if self.best not in numbers:
                    raise UserError(
                        f"the number to keep the best weights by must be one that the evaluation gives, got "
                        f"{self.best!r}; {suggestion(self.best, numbers)}"
                    )
                _keep_best(folder / "best", model, done, self.best, numbers[self.best])
            return numbers

        with state.averaged(done) as model:
            return state.processes.from_main(work)


def best_so_far(folder: Path) -> tuple[int, float] | None:
    """The step and the number of the weights in a run's `best`, None if there are none.

    Raises `UserError` for what no run has written there.
    """
    path = folder / "best" / WEIGHTS
    if not path.exists():
        return None
    with opened_tensors(path) as file:
        told: dict[str, Any] = file.metadata()
    try:
        facts = parse_json(told[BEST], path) if BEST in told else told
        step, value = int(taken(facts, "step", int | str, path)), float(taken(facts, "value", float | str, path))
    except ValueError as error:
        raise UserError(f"{path} must tell of which step it is, but: {error}; remove it") from error
    if not isfinite(value):
        raise UserError(f"{path} must tell a finite number, got {value}; remove it")
    return step, value


def _keep_best(folder: Path, model: nn.Module, step: int, name: str, value: float) -> None:
    try:
        earlier = best_so_far(folder.parent)
    except UserError as error:
        damaged = set_aside(folder)
        logger.warning("%s; it is kept as %s, and the best weights are from now on those after it", error, damaged)
        earlier = None
    if not value < (earlier[1] if earlier else inf):
        return
    config = getattr(model, "config", None)
    if config is not None:  # the same for the whole run: with it, the folder is one that `from_pretrained` reads
        write_text(folder / "config.json", to_json({"class": type(model).__name__, **config_to_dict(config)}))
    # The number travels in the file of the weights, so that both change at one moment.
    with atomic_file(folder / WEIGHTS) as file:
        save_tensors(file, model.state_dict(), {BEST: json.dumps({"step": step, "name": name, "value": value})})
