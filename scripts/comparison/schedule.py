"""Stages that need each other, made by a few processes: whatever is ready begins as soon as a process is free."""

import queue
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from comparison.processes import start_server
from comparison.settings import Comparison
from comparison.stages import Stage, StageStore

PROCESSES = 2
"""Stages that are made side by side on the CPU, on one thread each: two threads in one process gain little.

On a GPU there is one after the other, since each has it to itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What every stage of a comparison is made for."""

    root: Path  # of the stages
    plan: Comparison
    device: str
    data_digest: str = ""

    @property
    def processes(self) -> int:
        """How many stages are made side by side."""
        return PROCESSES if self.device == "cpu" else 1

    def stage(
        self, name: str, settings: dict[str, Any], work: Callable[[Path], dict[str, Any]], *, resumes: bool = False
    ) -> Stage:
        """See `StageStore.run`."""
        return StageStore(self.root).run(name, settings, work, resumes=resumes)


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to come: `work(place, *stages that it needs, *arguments, line=...)` makes it, in any process.

    `line` is the line of the terminal that is free for its progress bar.
    """

    name: str  # what is done, and after " #" to what
    work: Callable[..., Stage]
    needs: tuple[str, ...] = ()  # names of other jobs
    arguments: tuple[Any, ...] = ()


def carry_out(jobs: Sequence[Job], place: Place, before: Mapping[str, Stage] | None = None) -> dict[str, Stage]:
    """The stages of all jobs by name, after those `before`, which they may need.

    Of the jobs that are ready the first begins first: put the longest in front.
    """
    waiting, done = list(jobs), dict(before or {})
    names = {job.name for job in jobs}
    assert len(names) == len(jobs), "two jobs have one name"
    assert all(names | done.keys() >= set(job.needs) for job in jobs), "a job needs one that is not there"
    total = len(jobs) + len(done)
    ended: queue.SimpleQueue[tuple[Job, int, Stage | BaseException]] = queue.SimpleQueue()
    lines = list(range(place.processes))
    with start_server().Pool(place.processes, initializer=_start_worker) as pool, _bar(len(jobs)) as bar:
        while len(done) < total:
            while lines and (ready := [job for job in waiting if done.keys() >= set(job.needs)]):
                job, line = ready[0], lines.pop(0)
                waiting.remove(job)
                _begin(pool, job, place, done, line, ended)
            job, line, outcome = ended.get()
            if isinstance(outcome, BaseException):
                raise outcome
            done[job.name] = outcome
            lines.append(line)
            bar.update()
        # Processes that are ended by force leave what others must sweep.
        pool.close()
        pool.join()
    return {**(before or {}), **{job.name: done[job.name] for job in jobs}}


def _begin(pool: Any, job: Job, place: Place, done: dict[str, Stage], line: int, ended: queue.SimpleQueue) -> None:
    def end(outcome: Stage | BaseException) -> None:
        ended.put((job, line, outcome))

    arguments = (place, *(done[name] for name in job.needs), *job.arguments)
    pool.apply_async(job.work, arguments, {"line": line}, callback=end, error_callback=end)


def _bar(total: int) -> tqdm:
    return tqdm(total=total, desc="stages", position=PROCESSES, bar_format="{l_bar}{bar}| {n}/{total} [{elapsed}]")


def _start_worker() -> None:
    """One thread per process; Ctrl-C is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
