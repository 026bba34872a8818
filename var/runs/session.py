"""Where and how one start of a training run works."""

import argparse
from dataclasses import dataclass

from var.data.workers import check_workers
from var.runs.folder import RunFolder
from var.training.distributed import Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where and how this start of a run works; it changes nothing in the result."""

    folder: RunFolder
    processes: Processes
    progress: bool
    workers: int
    trackers: tuple[str, ...]
    on_bad_image: str = "error"
    bar_line: int = 0  # of the terminal, where runs go on side by side

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Session":
        """As the options say."""
        return cls(
            folder=RunFolder(arguments.output.expanduser()),
            processes=Processes(arguments.device),
            progress=not arguments.quiet,
            workers=check_workers(arguments.workers),
            trackers=tuple(arguments.track),
            on_bad_image=arguments.on_bad_image,
        )

    def say(self, text: str) -> None:
        """Print a line, once for all processes."""
        if self.processes.is_main:
            print(text, flush=True)
