"""Stages of long work that are kept once finished: each is a folder that exists whole or not at all."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.files import atomic_folder, make_folder, sweep, write_json
from var.foreign.documents import read_json
from var.nested import plain
from var.training.distributed import Processes

RECORD = "stage.json"


@dataclass(frozen=True, slots=True)
class Stage:
    """A finished stage."""

    key: str  # names the settings that it depends on, those of its inputs included
    folder: Path  # what it left
    record: dict[str, Any]  # what its work returned, and "seconds"
    reused: bool  # an earlier run had finished it


class StageStore:
    """Runs stages and keeps their folders under `root`; the settings of a stage are its key."""

    def __init__(self, root: Path) -> None:
        self.root = make_folder(root)

    def sweep(self, *, everything: bool = False) -> None:
        """Remove what an interrupted run left half-done, or all; for one process, before any stage runs."""
        sweep(self.root, alone=True)
        for stage in self.root.iterdir() if everything else ():
            shutil.rmtree(stage, ignore_errors=True)

    def run(
        self,
        name: str,
        settings: dict[str, Any],
        work: Callable[[Path], dict[str, Any]],
        *,
        processes: Processes | None = None,
    ) -> Stage:
        """The stage `name` under `settings`: reused if it was finished before, else made by `work(folder)`.

        `work` writes into the folder that it is given and returns a record fit for JSON. Work of all `processes`, which
        resumes by itself, finds there what a killed run of it left; other work begins anew.
        """
        key = settings_key(name, settings)
        folder = self.root / f"{name}-{key}"
        if processes is None:
            if found := _finished(name, key, folder):
                return found
            with atomic_folder(folder) as unfinished:
                record = _record(settings, work, unfinished)
                write_json(unfinished / RECORD, record)
            return Stage(key, folder, plain(record), reused=False)
        if found := processes.from_main(lambda: _finished(name, key, folder)):
            return found
        processes.from_main(lambda: make_folder(folder))
        record = _record(settings, work, folder)
        processes.from_main(lambda: write_json(folder / RECORD, record))
        return Stage(key, folder, processes.from_main(lambda: plain(record)), reused=False)


def _finished(name: str, key: str, folder: Path) -> Stage | None:
    # A record that is missing or cannot be read is that of no finished stage.
    with suppress(UserError):
        record = read_json(folder / RECORD)
        if settings_key(name, record.get("settings")) == key:
            return Stage(key, folder, record, reused=True)
    return None


def _record(settings: dict[str, Any], work: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    started = time.perf_counter()
    record = work(folder)
    return {"seconds": time.perf_counter() - started, **record, "settings": settings}


def settings_key(name: str, settings: Any) -> str:
    """A short name for settings: equal settings have equal keys."""
    text = json.dumps([name, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
