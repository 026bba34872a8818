"""The checkpoints of a run on several processes: which to go on from, what may have changed, saving together."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from var.configs import config_to_dict
from var.data.base import fingerprint
from var.errors import UserError
from var.foreign.weights import Kind
from var.locks import sole_owner
from var.nested import differences, plain
from var.training.checkpoints import (
    CheckpointPolicy,
    CheckpointWriter,
    SavedTensors,
    newest_whole,
    read_facts,
    stored_tensors,
    sweep_checkpoints,
)
from var.training.run_length import length_note
from var.training.sharding import whole
from var.training.state import TrainingState

logger = logging.getLogger(__name__)

# Of a `TrainingConfig`, between two starts of a run. The number of steps moves the learning rate of those that follow.
_CHANGEABLE = ("steps", "log_every", "accumulation", "sharding", "compile")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Where a run stands, or goes on."""

    step: int = 0  # optimiser steps done
    window: Mapping[str, Any] = field(default_factory=dict)  # of the metrics log
    seconds: float = 0.0  # that they took
    evaluation_due: bool = False  # an evaluation was due after the last of them, and a signal came before it


class Checkpoints:
    """Saves a `TrainingState` as a policy says, and brings it back."""

    def __init__(self, policy: CheckpointPolicy, state: TrainingState) -> None:
        self.policy, self.state, self.processes = policy, state, state.processes
        training = {k: v for k, v in config_to_dict(state.config).items() if k not in _CHANGEABLE}
        data = {"images": len(state.data), "shape": state.data.shape, "fingerprint": fingerprint(state.data)}
        self.identity = plain({**policy.identity, "training": training, "data": data})

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the folder to this run for the length of the block, and sweep it first.

        Raises `UserError` if another run holds it, or if it cannot be written.
        """
        with ExitStack() as lock:
            self.processes.from_main(lambda: self._take_folder(lock))
            yield

    def _take_folder(self, lock: ExitStack) -> None:
        lock.enter_context(sole_owner(self.policy.folder))
        sweep_checkpoints(self.policy.folder)

    def resume(self) -> RunProgress:
        """Bring the newest whole checkpoint, if there is one, into the state, the same on every process.

        Raises `UserError` if it belongs to another run or to a longer one, or if no checkpoint is whole. Falling back
        to an older one, and another number of steps or processes, are said as warnings of this module's logger.
        """
        found = self.processes.from_main(self._choose)
        if found is None:
            return RunProgress()
        path, facts, kinds, notes = found
        for note in notes if self.processes.is_main else ():
            logger.warning(note)
        with SavedTensors(path, kinds, self.processes) as saved:
            self.state.restore(saved, facts["state"], str(path))
        logger.info("%s goes on from step %d", self.policy.folder, facts["step"])
        return RunProgress(facts["step"], facts["journal"], facts["seconds"], facts["unseen"])

    def due(self, done: int, steps: int) -> bool:
        """Whether to save after `done` of `steps` steps."""
        return done % self.policy.every == 0 or done == steps

    def save(self, progress: RunProgress) -> None:
        """Write the state at `progress`; every process must call. Raises `UserError` on all of them if it fails."""
        writer = CheckpointWriter(self.policy.folder, progress.step) if self.processes.is_main else None
        for file, tensors in self.state.tensors().items():
            gathered = {name: whole(tensor) for name, tensor in tensors.items()}
            if writer:
                writer.add(file, gathered)
        facts = {
            "step": progress.step,
            "identity": self.identity,
            "processes": self.processes.count,
            "accumulation": self.state.config.micro_batches,
            "steps": self.state.config.steps,
            "seconds": progress.seconds,
            "journal": dict(progress.window),
            "unseen": progress.evaluation_due,
            "state": self.state.facts(),
        }
        self.processes.from_main(lambda: writer.finish(facts, self.policy.keep) if writer else None)

    def _choose(self) -> tuple[Path, dict[str, Any], dict[str, dict[str, Kind]], list[str]] | None:
        path, faults = newest_whole(self.policy.folder)
        if path is None:
            return None
        facts = read_facts(path)
        _check_identity(facts["identity"], self.identity, path)
        planned = facts.get("steps", facts["identity"]["training"].get("steps"))  # older checkpoints have it there
        notes = [f"{fault} (kept with the ending .damaged); going on from {path.name} instead" for fault in faults]
        notes += length_note(self.state.config, planned, facts["step"], str(path))
        before = facts["processes"], facts["accumulation"]
        now = self.processes.count, self.state.config.micro_batches
        changed = (
            f"{path} was saved by {before[0]} process(es) x {before[1]} micro-batch(es) and goes on with "
            f"{now[0]} x {now[1]}: every step sees the same images"
        )
        if before[0] * before[1] != now[0] * now[1]:
            notes.append(f"{changed}, but noise and dropout are other draws from here on")
        elif before != now:
            notes.append(f"{changed} and noise; sums are rounded differently")
        return path, facts, stored_tensors(path), notes


def _check_identity(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    bound = {name: value for name, value in saved["training"].items() if name not in _CHANGEABLE}
    differing = [
        f"{name} ({shorten(repr(there), 60)} there, {shorten(repr(here), 60)} here)"
        for name, there, here in differences({**saved, "training": bound}, now)
    ]
    if differing:
        raise UserError(
            f"{path} must belong to the same run, but differs in {', '.join(differing)}; go back to these settings, "
            f"or give another folder to begin anew"
        )
