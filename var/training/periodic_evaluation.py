"""Evaluation of a model every so many steps while it trains, and its best weights."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from var.configs import config_to_dict, to_json
from var.errors import UserError, suggestion
from var.files import atomic_file, set_aside, write_text
from var.foreign.documents import parse_json, taken
from var.foreign.regular import read_text
from var.foreign.weights import opened_tensors, save_tensors
from var.training.state import TrainingState
from var.weights import add_to_digest

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
DIGEST = "digest"
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

    Raises `UserError` for what no run has written there, and for weights that are not as they were written.
    """
    path = folder / "best" / WEIGHTS
    if not path.exists():
        return None
    with opened_tensors(path) as file:
        told: dict[str, Any] = file.metadata()
        weights = {name: file.load(name) for name in file.kinds()}
    try:
        facts = parse_json(told[BEST], path) if BEST in told else told
        step, value = int(taken(facts, "step", int | str, path)), float(taken(facts, "value", float | str, path))
    except ValueError as error:
        raise UserError(f"{path} must tell of which step it is, but: {error}; remove it") from error
    if DIGEST in facts and facts[DIGEST] != _digest(weights):  # older files have none
        raise UserError(f"{path} must hold the weights that were written, got others; remove it")
    if not isfinite(value):
        raise UserError(f"{path} must tell a finite number, got {value}; remove it")
    return step, value


def _keep_config(path: Path, model: nn.Module) -> None:
    """Write the config if it is not there as it was: with it, the folder is one that `from_pretrained` reads."""
    config = getattr(model, "config", None)
    if config is None:
        return
    text = to_json({"class": type(model).__name__, **config_to_dict(config)})  # the same for the whole run
    try:
        if read_text(path) == text:
            return
    except UserError as error:
        if os.path.lexists(path):
            logger.warning("%s; it is kept as %s, and written again", error, set_aside(path))
    write_text(path, text)


def _keep_best(folder: Path, model: nn.Module, step: int, name: str, value: float) -> None:
    try:
        earlier = best_so_far(folder.parent)
    except UserError as error:
        damaged = set_aside(folder)
        logger.warning("%s; it is kept as %s, and the best weights are from now on those after it", error, damaged)
        earlier = None
    _keep_config(folder / "config.json", model)
    if not value < (earlier[1] if earlier else inf):
        return
    # The number travels in the file of the weights, so that both change at one moment.
    weights = model.state_dict()
    told = {"step": step, "name": name, "value": value, DIGEST: _digest(weights)}
    with atomic_file(folder / WEIGHTS) as file:
        save_tensors(file, weights, {BEST: json.dumps(told)})


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    add_to_digest(digest.update, sorted(weights.items()))
    return digest.hexdigest()
