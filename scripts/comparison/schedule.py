"""Stages that need each other, made by a few processes: whatever is ready begins as soon as a process is free."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

from comparison.processes import GRACE, end_with_parent, is_main, launched, part_from_launcher, start_server
from comparison.settings import Comparison
from comparison.stages import Stage, StageStore
from var.errors import UserError
from var.training.distributed import Processes

Value = TypeVar("Value")

PROCESSES = 2
"""Stages that are made side by side on the CPU, on one thread each: two threads in one process gain little.

On a GPU there is one after the other, since each has it to itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What every stage of a comparison is made for."""

    root: Path  # of the stages
    plan: Comparison
    device: str  # "cpu" or "cuda": the same for all processes, whichever GPU each has
    data_digest: str = ""

    @property
    def lines(self) -> range:
        """Lines of the terminal for the bars of stages that this process makes side by side, one for each."""
        if launched():
            rank = Processes(self.device).rank
            return range(rank, rank + 1)
        return range(PROCESSES if self.device == "cpu" else 1)

    def from_main(self, work: Callable[[], Value]) -> Value:
        """What `work` returns; of the processes of a launcher the main one does it."""
        return Processes(self.device).from_main(work)

    def leave(self) -> None:
        """Part from the other processes of a launcher."""
        Processes(self.device).leave()

    def stage(
        self,
        name: str,
        settings: dict[str, Any],
        work: Callable[[Path], dict[str, Any]],
        *,
        processes: Processes | None = None,
    ) -> Stage:
        """See `StageStore.run`."""
        return StageStore(self.root).run(name, settings, work, processes=processes)


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to come: `work(place, *stages that it needs, *arguments, line=...)` makes it, in any process.

    `line` is the line of the terminal that is free for its progress bar.
    """

    name: str  # what is done, and after " #" to what
    work: Callable[..., Stage]
    needs: tuple[str, ...] = ()  # names of other jobs
    arguments: tuple[Any, ...] = ()
    together: bool = False  # made by all processes of a launcher, if one started them


def carry_out(jobs: Sequence[Job], place: Place, before: Mapping[str, Stage] | None = None) -> dict[str, Stage]:
    """The stages of all jobs by name, after those `before`, which they may need.

    Of the jobs that are ready the first begins first: put the longest in front. Every process of a launcher calls this:
    they make some stages together first, and the others are dealt out among them.
    """
    if not launched():
        return _side_by_side(jobs, place, dict(before or {}))
    processes, done = Processes(place.device), dict(before or {})
    for job in jobs:
        if job.together:
            done[job.name] = job.work(place, *(done[name] for name in job.needs), *job.arguments, line=0)
    while waiting := [job for job in jobs if job.name not in done]:
        ready = [job for job in waiting if done.keys() >= set(job.needs)]
        own = ready[processes.rank :: processes.count]
        for made in processes.from_all(partial(_side_by_side, own, place, done)):
            done |= made
    return done


def alone(work: Callable[..., Value], *arguments: Any) -> Value:
    """What `work` returns on the CPU in a process of its own, which belongs to no launcher and uses no device yet."""
    with _workers(1, "cpu") as pool:
        return pool.submit(work, *arguments).result()


def _side_by_side(jobs: Sequence[Job], place: Place, before: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages of all jobs by name, after those `before`, by processes of this one's own."""
    if not jobs:
        return dict(before)
    waiting, done = list(jobs), dict(before)
    names = {job.name for job in jobs}
    assert len(names) == len(jobs), "two jobs have one name"
    assert all(names | done.keys() >= set(job.needs) for job in jobs), "a job needs one that is not there"
    total = len(jobs) + len(done)
    lines = list(place.lines)
    running: dict[Future[Stage], tuple[Job, int]] = {}
    with _workers(len(lines), place.device) as pool, _bar(len(jobs)) as bar:
        while len(done) < total:
            while lines and (ready := [job for job in waiting if done.keys() >= set(job.needs)]):
                job, line = ready[0], lines.pop(0)
                waiting.remove(job)
                needed = (done[name] for name in job.needs)
                running[pool.submit(job.work, place, *needed, *job.arguments, line=line)] = job, line
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, line = running.pop(future)
                done[job.name] = future.result()
                lines.append(line)
                bar.update()
    return {**before, **{job.name: done[job.name] for job in jobs}}


@contextmanager
def _workers(count: int, device: str) -> Iterator[ProcessPoolExecutor]:
    """So many processes, which end at once if the block fails; what they train is saved and gone on with.

    Raises `UserError` if one of them is ended from outside.
    """
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, start_server(), _start_worker, (device,)) as pool:
        try:
            yield pool
        except BaseException as failure:
            own = set(multiprocessing.active_children()) - others
            for process in own:
                process.terminate()
            # One that ended within the queue's lock leaves another, which has saved, waiting for that lock for ever.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in own:
                process.join(GRACE)
                process.kill()
            if isinstance(failure, BrokenProcessPool):
                raise UserError(
                    "a process of the comparison was ended from outside, as the system does where memory runs out; "
                    "make room and run the same command again to go on"
                ) from failure
            raise


def _bar(total: int) -> tqdm:
    line = int(os.environ["WORLD_SIZE"]) if launched() else PROCESSES
    bar_format = "{l_bar}{bar}| {n}/{total} [{elapsed}]"
    return tqdm(total=total, desc="stages", position=line, bar_format=bar_format, disable=not is_main())


def _start_worker(device: str) -> None:
    """One thread per process; Ctrl-C is the main process's to handle."""
    part_from_launcher(device)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    end_with_parent()
