"""The folder of a run: where everything lies, and whether it belongs to the run that is asked for."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.files import is_unfinished, make_folder, remove_folder, set_aside, sweep, write_json
from var.foreign.documents import read_json, taken
from var.hub.layout import FINISHED, RUN_FILE
from var.locks import LOCK
from var.nested import plain
from var.runs.overrides import (
    FACTS,
    differences,
    read_settings,
    settings_from_dict,
    settings_to_dict,
    write_settings,
)
from var.runs.settings import RunSettings
from var.training.checkpoints import checkpoints, step_of
from var.training.run_length import check_length

logger = logging.getLogger(__name__)

FREE = (
    "data.source",
    "evaluation.",
    "checkpoints.",
    "gradient_checkpointing",
    "losses.dino_weights",
    "losses.lpips_heads",
    "losses.lpips_vgg16",
    "training.accumulation",
    "training.compile",
    "training.log_every",
    "training.sharding",
    "training.steps",
)
"""Settings that may change when a run goes on.

The result does not depend on them, but for the steps (longer training goes on), and for data and published weights (it
depends on their content, wherever they lie).
"""


class RunFolder:
    """The files of one run; several starts of it share them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / RUN_FILE  # the resolved settings, which `--config` reads again, and the facts
        self.log = path / "log.jsonl"  # a JSON line every so many steps, and one for each evaluation
        self.listing = path / "listing.json"  # of a large folder of images, so that the next start need not look again
        self.checkpoints = path / "checkpoints"  # to go on from after an interruption, and the best weights in `best/`
        self.samples = path / "samples"  # a picture for each evaluation
        self.finished = path / FINISHED  # written last of all
        self._begun_here = False  # by this start, not by one before it

    def check_place(self) -> None:
        """Raise `UserError` for a folder that is neither new nor that of a run."""
        found = self.path.iterdir() if self.path.is_dir() and not self.settings.exists() else ()
        if any(path.name not in (self.listing.name, LOCK) and not is_unfinished(path) for path in found):
            raise UserError(
                f"the output {self.path} must be a new folder or that of a run, but it holds other files and no "
                f"{self.settings.name}; choose another --output"
            )

    def compare(self, kind: str, settings: RunSettings, facts: Mapping[str, Any]) -> None:
        """Raise `UserError` unless the folder is new or holds this very run, as far as it has gone.

        `kind` says what is trained; `facts` is what must agree besides the settings: the data, a tokenizer. Settings
        that the run is too old to know had their defaults.
        """
        self.check_place()
        if not self.settings.exists():
            return
        saved = read_settings(self.settings)
        before = taken(saved, FACTS, dict, self.settings, remedy="restore it, or choose another --output")
        del saved[FACTS]
        if before.get("kind") != kind:
            raise UserError(
                f"{self.path} must hold a run of kind {kind!r}, got {before.get('kind')!r}; choose another --output"
            )
        changed = differences(_bound(before), _bound({"kind": kind, **facts}))
        known = settings_to_dict(settings_from_dict(type(settings), saved, str(self.settings)))
        changed += [text for text in differences(known, settings_to_dict(settings)) if not text.startswith(FREE)]
        if changed:
            raise UserError(
                f"{self.path} holds a run with other settings: {'; '.join(changed)}; "
                "set them back, or choose another --output"
            )

    def is_finished(self, steps: int) -> bool:
        """Whether the run is finished with just so many `steps`."""
        return self._finished_steps() == steps

    def check_steps(self, steps: int) -> bool:
        """Whether the run is finished with `steps`; raises `UserError` if it has more of them already.

        A record of the end that is damaged is set aside, with a warning.
        """
        if self.is_finished(steps):
            return True
        newest = next(iter(checkpoints(self.checkpoints)), None)
        if (finished := self._finished_steps()) is None and self.finished.exists():
            damaged = set_aside(self.finished)
            logger.warning("%s cannot be used, and is kept as %s; the run goes on", self.finished, damaged)
        done = max(finished or 0, step_of(newest) if newest else 0)
        check_length(steps, done, str(self.path), setting="training.steps")
        return False

    def _finished_steps(self) -> int | None:
        """With how many steps the run was finished; None if it was not, or its record does not say so."""
        try:
            return taken(read_json(self.finished), "steps", int, self.finished)
        except UserError:
            return None

    def claim(self, kind: str, settings: RunSettings, facts: Mapping[str, Any]) -> None:
        """Write the resolved settings and the facts, and remove what killed starts left; one process does it."""
        sweep(make_folder(self.path))
        self._begun_here = not self.settings.exists()
        write_settings(self.settings, {FACTS: plain({"kind": kind, **facts}), **settings_to_dict(settings)})

    def release(self) -> None:
        """Make the folder new again if this start began its run: what could not be prepared is no run to go on with.

        Else a corrected setting, or corrected data, would be refused as those of another run.
        """
        if not self._begun_here:
            return
        written = [path for path in self.path.iterdir() if path not in (self.settings, self.listing, self.path / LOCK)]
        for path in [*written, self.settings]:  # a folder without settings must be empty
            remove_folder(path) if path.is_dir() else path.unlink()

    def finish(self, record: Mapping[str, Any]) -> None:
        """Say that the run is over and its model saved."""
        write_json(self.finished, dict(record))


def _bound(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that must agree: those about versions need not."""
    return {name: value for name, value in plain(facts).items() if name != "versions"}
