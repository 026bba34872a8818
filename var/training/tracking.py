"""Services that draw the curves of a run while it goes on, through accelerate."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import ProjectConfiguration

from var.errors import UserError, suggestion

KNOWN = ("tensorboard", "trackio", "wandb")


class Trackers:
    """Sends rows to the services `names`, of those `KNOWN`; every process may call, the main one sends.

    Args:
        folder: where tensorboard and wandb write, into folders of their own; its name is that of the run, which goes on
            when it is resumed.
        run: name of the project.
        settings: what is shown of the run's configuration.

    Raises `UserError` for an unknown name, and for a service whose package is missing.
    """

    def __init__(self, names: Sequence[str], folder: Path | None, run: str, settings: Mapping[str, Any]) -> None:
        self._accelerator: Accelerator | None = None
        if not names:
            return
        available = [str(name) for name in get_available_trackers()]
        for name in names:
            if name not in KNOWN:
                raise UserError(f"unknown tracker {name!r}; {suggestion(name, KNOWN)}")
            if name not in available:
                raise UserError(
                    f'the tracker {name!r} needs a package that is missing; run pip install "next-scale[tracking]", '
                    "or leave it out: the JSON lines hold the same numbers"
                )
        if folder is None:
            raise UserError(
                f"trackers need a folder to write into, got {list(names)} without log; give the path of a log"
            )
        place = ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder))
        self._accelerator = Accelerator(log_with=list(names), project_config=place)
        shown = {name: v if isinstance(v, int | float | str) else str(v) for name, v in settings.items()}
        self._accelerator.init_trackers(run, config=shown, init_kwargs=_names(folder))

    def log(self, row: Mapping[str, float]) -> None:
        """Send a row of the log."""
        if self._accelerator is not None:
            self._accelerator.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Let the services finish."""
        for tracker in self._accelerator.trackers if self._accelerator is not None else ():
            tracker.finish()


def _names(folder: Path) -> dict[str, dict[str, Any]]:
    """What makes the starts of a run one run, for each service; tensorboard goes by the folder anyway."""
    place = folder.resolve()
    known = hashlib.sha256(str(place).encode()).hexdigest()[:12]
    return {
        "trackio": {"name": place.name, "resume": "allow"},
        "wandb": {"dir": str(folder), "name": place.name, "id": f"{place.name}-{known}", "resume": "allow"},
    }
