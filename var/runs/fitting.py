"""What makes a step fit into memory: micro-batches, and recomputation where they are not enough.

Micro-batches cost next to no time, so that the fewest are taken that fit; recomputation costs a third of a step, and is
taken where not even one image at a time fits. The gradient stays that of the whole batch, as its loss is a mean over
images. What is drawn in a step (noise, dropped labels, dropout) has a key for every part of the batch: another number
of parts draws other numbers of the same distribution, and where nothing is drawn the curve is the same but for
rounding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from var.errors import UserError
from var.quantities import count, size
from var.runs.job import Job
from var.runs.memory import SHARE, room_of
from var.runs.overrides import read_settings
from var.runs.plan import Plan
from var.runs.session import Session
from var.training.distributed import Processes

AnyJob = TypeVar("AnyJob", bound=Job[Any])


def fitted(job: AnyJob, session: Session) -> AnyJob:
    """`job` with what `training.accumulation=auto` comes to; any other job as it is.

    A run that goes on keeps what it began with, on any machine. Raises `UserError` where nothing fits, and where the
    device does not tell its memory.
    """
    if job.settings.training.accumulation != "auto":
        return job
    processes = session.processes
    if (begun := processes.from_main(lambda: _begun(session))) is not None:
        accumulation, recomputes = begun
        again = job.sparing() if recomputes is True else None
        return (job if again is None else again).changed(accumulation=accumulation)
    if (room := _room(processes)) is None:
        raise UserError(
            f"accumulation=auto needs the memory of the device, which {processes.device.type!r} does not tell; "
            "give a number of micro-batches"
        )
    if (found := next(_ways(job, processes.count, room), None)) is None:
        smallest = _smallest(job, processes.count)
        raise UserError(
            f"accumulation=auto must find micro-batches that fit, but {count(smallest.micro_batch, 'image')} at a time "
            f"needs about {size(sum(smallest.memory.values()))} of {_of(room)}; take a smaller model or smaller "
            "images, or give a number of micro-batches to try it"
        )
    return found[0]


def what_fits(job: Job[Any], plan: Plan, processes: Processes) -> tuple[str, ...]:
    """A line about whether the `plan` of a job fits into the memory of the device, and else how it would."""
    if (room := _room(processes)) is None:
        return ()
    if sum(plan.memory.values()) <= room:
        return (f"fits into {_of(room)}",)
    ways = [_words(*way) for way in _ways(job, processes.count, room, plan)]
    if not ways:
        return (f"does not fit into {_of(room)}, not even one image at a time",)
    taken = "that" if len(ways) == 1 else "the first"
    remedy = f"but does with {', or with '.join(ways)}; training.accumulation=auto takes {taken}"
    return (f"does not fit into {_of(room)}, {remedy}",)


def _ways(job: AnyJob, processes: int, room: int, plan: Plan | None = None) -> Iterator[tuple[AnyJob, Plan]]:
    """The job in the fewest parts that fit, as it is and with recomputation, where there are such.

    `plan` is that of the job, where it was made already.
    """
    for each, known in ((job, plan), (job.sparing(), None)):
        for cut in () if each is None else _cuts(each, processes, known):
            if each is not None and sum(cut.memory.values()) <= room:
                yield each.changed(accumulation=cut.training.accumulation), cut
                break


def _cuts(job: Job[Any], processes: int, plan: Plan | None = None) -> Iterator[Plan]:
    """The plan of a job in 1, 2, ... equal parts, down to one image."""
    plan = plan or job.changed(accumulation=1).plan(processes)
    share = max(job.settings.training.batch_size // processes, 1)
    for parts in (number for number in range(1, share + 1) if share % number == 0):
        yield replace(plan, settings=job.changed(accumulation=parts).settings)


def _smallest(job: Job[Any], processes: int) -> Plan:
    return [*_cuts(job.sparing() or job, processes)][-1]


def _words(job: Job[Any], plan: Plan) -> str:
    recomputes = " gradient_checkpointing=true" if getattr(job.settings, "gradient_checkpointing", False) else ""
    cost = f"{count(plan.micro_batch, 'image')} at a time, about {size(sum(plan.memory.values()))}"
    return f"training.accumulation={plan.training.accumulation}{recomputes} ({cost})"


def _room(processes: Processes) -> int | None:
    """What every process has; all must ask."""
    rooms = [room for room in processes.gather(room_of(processes.device)) if room is not None]
    return min(rooms) if len(rooms) == processes.count else None


def _of(room: int) -> str:
    return f"{size(room)}, {SHARE:.0%} of the memory"


def _begun(session: Session) -> tuple[Any, Any] | None:
    """Micro-batches and recomputation of the run in the session's folder, if there is one."""
    if not session.folder.settings.exists():
        return None
    saved = read_settings(session.folder.settings)
    training = saved.get("training")
    accumulation = training.get("accumulation", 1) if isinstance(training, Mapping) else 1
    return accumulation, saved.get("gradient_checkpointing")
