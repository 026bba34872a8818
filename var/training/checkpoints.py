"""Folders `step-N` that exist whole or not at all: written aside, checked by a manifest, then renamed."""

import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from var.checks import at_most, fields
from var.configs import to_json
from var.errors import UserError, first_line
from var.files import begin_folder, file_digest, finish_folder, remove_folder, set_aside, sweep, write_text
from var.foreign.documents import read_json, taken
from var.foreign.weights import Kind, TensorFile, opened_tensors, save_tensors
from var.training.distributed import Processes

MANIFEST = "manifest.json"
FACTS = "state.json"
_FACTS: dict[str, dict[str, Any]] = {
    "": {"step": int, "processes": int, "accumulation": int, "steps": int, "seconds": float, "unseen": bool},
    "identity": {"training": dict, "data": dict},
    "journal": {"steps": int, "values": dict},
    "state": {"average_updates": int, "task": list},
}
"""Of which type the facts are, by the group that they lie in; older checkpoints lack some."""
_CHECKPOINT = re.compile(r"step-(\d+)")
_OLD_LEFTOVER = re.compile(r"step-\d+\.(tmp|trash)")  # the names that version 0.1 gave


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """Where and how often a run is saved; the same run called again goes on from the newest whole checkpoint."""

    folder: Path  # of this run alone
    every: int  # steps from one checkpoint to the next; the last step is always saved
    keep: int = 2  # checkpoints; an older one stands in for a newest one that turns out to be damaged
    identity: Mapping[str, Any] = field(default_factory=dict)  # what JSON can say and a resumed run must share

    def __post_init__(self) -> None:
        fields(self)
        at_most(10**9, self, "every", "keep")
        if self.every < 1:
            raise UserError(f"checkpoints must be at least 1 step apart, got every={self.every}; raise it")
        if self.keep < 2:
            raise UserError(
                f"at least 2 checkpoints must be kept, in case one is damaged, got keep={self.keep}; raise it"
            )
        to_json(dict(self.identity))


class CheckpointWriter:
    """One checkpoint in the making; `finish` gives it its name and removes what is too old.

    A failure is kept until `finish`, which raises it as a `UserError`, because meanwhile other processes go on giving
    their share of the tensors. Then nothing is left of the new checkpoint, and the earlier ones are untouched.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._step = folder, step
        self._target = folder / f"step-{step}"
        self._place: Path | None = None
        self._manifest: dict[str, dict[str, Any]] = {}
        self._failure: Exception | None = None
        self._bytes = 0  # of all tensors, written or not
        try:
            self._place = begin_folder(self._target)
        except OSError as error:
            self._failure = error

    def add(self, file: str, tensors: Mapping[str, Tensor]) -> None:
        """Write the whole `tensors` as one safetensors file."""
        self._bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if self._place is None or self._failure is not None:
            return
        try:
            path = self._place / f"{file}.safetensors"
            save_tensors(path, tensors)
            self._manifest[path.name] = _entry(path)
        except (OSError, UserError) as error:
            self._failure = error

    def finish(self, facts: dict[str, Any], keep: int) -> None:
        """Add `facts`, make the checkpoint known under its name, and keep the newest `keep`."""
        text = to_json(facts)
        try:
            if self._place is None or self._failure is not None:
                raise self._failure or FileNotFoundError(self._target)
            write_text(self._place / FACTS, text)
            self._manifest[FACTS] = _entry(self._place / FACTS)
            manifest = to_json({"step": self._step, "files": self._manifest})
            write_text(self._place / MANIFEST, manifest)
            finish_folder(self._place, self._target)
        except (OSError, UserError) as error:
            raise self._failed(error) from error
        for old in checkpoints(self._folder)[keep:]:
            remove_folder(old)

    def _failed(self, error: Exception) -> UserError:
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
        told = (each.strerror for each in (error, error.__cause__) if isinstance(each, OSError))
        reason = next(filter(None, told), first_line(error))
        free = "room unknown"
        with suppress(OSError):
            free = f"{_megabytes(shutil.disk_usage(self._folder).free)} free"
        earlier = [folder.name for folder in checkpoints(self._folder)]
        intact = f"{earlier[0]} is intact and" if earlier else "no earlier one exists: the run"
        goes_on = "the same command goes on from it" if earlier else "begins anew"
        return UserError(
            f"the checkpoint of step {self._step} must be written whole to {self._folder}, but: "
            f"{reason} ({free}, more than {_megabytes(self._bytes)} needed); make room or give another folder; "
            f"{intact} {goes_on}"
        )


class SavedTensors:
    """The tensors of a checkpoint, read by the main process and sent to the others inside a `with` block."""

    def __init__(self, path: Path, kinds: dict[str, dict[str, Kind]], processes: Processes) -> None:
        self._path, self._processes = path, processes
        self._open: dict[str, TensorFile] = {}  # to open a file takes as long as it has tensors
        self._closing = ExitStack()
        self.kinds = kinds  # shape and type of each tensor of each file

    def __enter__(self) -> "SavedTensors":
        return self

    def __exit__(self, *raised: object) -> None:
        self._closing.close()

    def load(self, file: str, name: str) -> Tensor:
        """The tensor, whole, on every process."""
        shape, dtype = self.kinds[file][name]
        if self._processes.is_main:
            if file not in self._open:
                opened = opened_tensors(self._path / f"{file}.safetensors")
                self._open[file] = self._closing.enter_context(opened)
            value = self._open[file].load(name)
        else:
            assert isinstance(dtype, torch.dtype)  # it fitted a tensor of the model
            value = torch.empty(shape, dtype=dtype)
        if self._processes.count == 1:
            return value
        value = value.to(self._processes.device)
        if value.numel():  # sent as bytes, which every backend knows
            dist.broadcast(value.reshape(-1).view(torch.uint8), src=0)
        return value


def stored_tensors(path: Path) -> dict[str, dict[str, Kind]]:
    """Shape and type of each tensor of each file of a checkpoint."""
    kinds: dict[str, dict[str, Kind]] = {}
    for file in sorted(path.glob("*.safetensors")):
        with opened_tensors(file) as opened:
            kinds[file.stem] = opened.kinds()
    return kinds


def checkpoints(folder: Path) -> list[Path]:
    """All `step-N` in `folder`, newest first, whole or damaged."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """Number of optimiser steps after which `checkpoint` was saved."""
    return int(checkpoint.name.removeprefix("step-"))


def fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, None if every file has the size and the SHA-256 of its manifest."""
    reading = MANIFEST
    try:
        manifest = read_json(checkpoint / MANIFEST)
        files = taken(manifest, "files", dict, MANIFEST)
        if FACTS not in files or "model.safetensors" not in files:
            return f"{MANIFEST} must list {FACTS} and model.safetensors"
        for name in files:
            entry, path = taken(files, name, dict, MANIFEST), checkpoint / Path(name).name
            if not path.is_file():
                return f"{path.name} is missing"
            if path.stat().st_size != taken(entry, "bytes", int, MANIFEST):
                return f"{path.name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
            if file_digest(path) != taken(entry, "sha256", str, MANIFEST):
                return f"{path.name} has other contents than were written"
        reading = FACTS
        if read_facts(checkpoint)["step"] != step_of(checkpoint):
            return f"{FACTS} is of another step"
        reading = "a file of tensors"
        stored_tensors(checkpoint)
    except (UserError, OSError, ValueError) as error:
        return f"{reading} cannot be used ({error})"
    return None


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint, and what is wrong with newer ones, which get the ending `.damaged`.

    Raises `UserError` if there are checkpoints and all are damaged.
    """
    faults: dict[Path, str] = {}
    for path in checkpoints(folder):
        wrong = fault(path)
        if wrong is None:
            for damaged in faults:
                set_aside(damaged)
            return path, [f"{damaged.name}: {reason}" for damaged, reason in faults.items()]
        faults[path] = wrong
    if faults:
        listed = ", ".join(f"{path.name}: {reason}" for path, reason in faults.items())
        raise UserError(
            f"{folder} must hold a whole checkpoint to go on from, but all are damaged ({listed}); "
            "restore one from a copy, or remove them to begin anew"
        )
    return None, []


def sweep_checkpoints(folder: Path) -> None:
    """Remove what killed runs left half-written or half-deleted; for the one run that holds the folder."""
    sweep(folder, lambda name: _CHECKPOINT.fullmatch(name) is not None, alone=True)
    for path in folder.iterdir():
        if _OLD_LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """The facts given to `CheckpointWriter.finish`; raises `UserError` for those of another type."""
    facts = read_json(checkpoint / FACTS)
    taken(facts, "step", int, FACTS)
    for group, kinds in _FACTS.items():
        values = taken(facts, group, dict, FACTS) if group in facts else {} if group else facts
        for name in kinds.keys() & values.keys():
            taken(values, name, kinds[name], FACTS)
    return facts


def _entry(path: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
