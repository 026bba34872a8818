"""Jobs for the comparison's schedule that only add numbers, and a process that carries them out."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from processes import fork_from_here

SCRIPTS = str(Path(__file__).parents[2] / "scripts")


def add(place, *stages, line):
    """A stage that is one more than the sum of those that it needs."""

    def work(folder):
        return {"sum": 1 + sum(stage.record["sum"] for stage in stages), "line": line}

    return place.stage("add", {"needs": [stage.key for stage in stages], "data": place.plan}, work)


def fail(place, *stages, line):
    raise ValueError("this job cannot be done")


def die(place, *stages, line):
    """What a system that runs out of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def linger(place, *stages, line):
    """Work that takes ten minutes, in a process whose number is in a file."""
    (place.root / "worker").with_suffix(".new").write_text(str(os.getpid()))
    (place.root / "worker.new").rename(place.root / "worker")
    time.sleep(600)


def lingering(folder):
    """Carry out a job that takes long."""
    sys.path.append(SCRIPTS)
    from comparison import schedule

    fork_from_here()
    Path(folder).mkdir()
    schedule.carry_out([schedule.Job("long", linger)], schedule.Place(root=Path(folder), plan="plan", device="cpu"))


def carried_out(folder, report):
    """Carry out jobs of which one fails or dies, then all twice; the errors and the stages go to the file `report`."""
    sys.path.append(SCRIPTS)
    from comparison.schedule import Job, Place, carry_out

    from var.errors import UserError

    fork_from_here()
    place = Place(root=Path(folder), plan="plan", device="cpu")
    jobs = [Job("last", add, ("left", "right")), Job("left", add, ("first",)), Job("right", fail), Job("first", add)]
    try:
        carry_out(jobs, place)
    except ValueError as error:
        told = {"error": str(error)}
    jobs[2] = Job("right", die)
    try:
        carry_out(jobs, place)
    except UserError as error:
        told["killed"] = str(error)
    jobs[2] = Job("right", add, ("first", "first"))
    for name in ("stages", "again"):
        told[name] = {name: asdict(stage) for name, stage in carry_out(jobs, place).items()}
    Path(report).write_text(json.dumps(told, default=str))
