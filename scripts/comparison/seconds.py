"""Equal seconds: the steps of every training, by the time of a step on this machine, which is measured beforehand.

A few steps are taken and thrown away; what they took is kept as a stage, so that a comparison that goes on does so with
the same numbers of steps, and weights depend on the time of a step by these numbers only.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from comparison.contenders import draws, shortened
from comparison.families import FAMILIES
from comparison.schedule import Job, Place, carry_out
from comparison.settings import Comparison
from comparison.stages import Stage
from comparison.training import MODEL, base, seeded, told
from var.data.batches import batches
from var.files import remove_folder
from var.runs import job as runs
from var.runs.folder import RunFolder
from var.runs.session import Session
from var.training.distributed import Processes
from var.training.state import TrainingState

WARM_UP = 3  # steps that are not measured: codes are placed, memory is got
LEAST, MOST, ENOUGH = 8, 100, 2.0  # measured steps, and the seconds that are enough of them


def equal_seconds(place: Place) -> Comparison:
    """The place's comparison, with the steps of every stage that make each model's training take its `seconds`.

    The stages of a model keep their shares of them. What must be done before the first step is taken off; of tokens
    that are drawn for a decoder as many as its steps are of the usual ones.
    """
    plan, models = place.plan, dict(place.plan.models)
    assert plan.seconds is not None
    paces = carry_out(_pace_jobs(plan), place)
    for model, one in plan.models.items():
        mine = {stage: paces[_name(model, stage)].record for stage in one.runs}
        drawn = sum(pace["prepare_seconds"] for stage, pace in mine.items() if draws(one.runs[stage]))
        left = plan.seconds - sum(pace["prepare_seconds"] for pace in mine.values()) + drawn
        usual = sum(one.runs[stage].training.steps * pace["step_seconds"] for stage, pace in mine.items())
        share = max(left, 0.0) / (usual + drawn)
        if share > 1:  # no more are drawn than usual
            share = (left - drawn) / usual
        runs = {stage: shortened(run, max(1, round(run.training.steps * share))) for stage, run in one.runs.items()}
        models[model] = replace(one, runs=runs)
    return replace(plan, models=models)


def _name(model: str, stage: str) -> str:
    return f"pace of {stage} #{model}"


def _pace_jobs(plan: Comparison) -> list[Job]:
    """One for each stage of each model; a stage needs those before it."""
    jobs = []
    for model, one in plan.models.items():
        names = [_name(model, stage) for stage in one.runs]
        for number, (name, stage) in enumerate(zip(names, one.runs, strict=True)):
            jobs.append(Job(name, pace_stage, tuple(names[:number]), (model, stage), together=True))
    return jobs


def pace_stage(place: Place, *needed: Any, line: int) -> Stage:
    """The seconds of a step of a training, and of what is done before the first; what it has learnt is for the next."""
    *before, model, stage = needed
    plan = place.plan.models[model]
    run, processes = seeded(plan.runs[stage], place.plan.data.source, 0), Processes(place.device)

    def work(folder: Path) -> dict[str, Any]:
        folders = {name: each.folder / MODEL for name, each in zip(plan.runs, before, strict=False)}
        job = FAMILIES[model].job(stage, run, place.plan.data.part("train"), folders)
        processes.from_main(lambda: _remove(folder / MODEL))  # of a run that was killed
        found = pace(job, folder / MODEL, processes)
        processes.from_main(lambda: _remove(folder / MODEL / "tokens"))
        return found

    settings = base(place) | {"before": [each.key for each in before], "run": told(run)}
    settings |= {"processes": processes.count} if processes.count > 1 else {}
    return place.stage(f"pace-{model}-{stage}", settings, work, processes=processes)


def _remove(folder: Path) -> None:
    if folder.exists():
        remove_folder(folder)


def pace(job: runs.Job[Any], folder: Path, processes: Processes) -> dict[str, float]:
    """Seconds of preparing a training, and the mean of a step in its middle, when all its parts are on.

    Of one on a CPU they are its own, which no other program stretches. The model is saved in `folder`.
    """
    alone = processes.count == 1 and processes.device.type == "cpu"
    clock = time.process_time if alone else time.perf_counter
    session = Session(folder=RunFolder(folder), processes=processes, progress=False, workers=0, trackers=())
    started, settings = clock(), job.settings
    prepared, training = job.prepare(session), settings.training
    ready = before = clock()
    state = TrainingState(prepared.task, prepared.data, training, session.processes)
    augment = settings.data.augmentation() if prepared.vary else None
    seconds: list[float] = []
    share = {"rank": processes.rank, "world_size": processes.count, "augment": augment}
    for step, batch in enumerate(batches(prepared.data, training.batch_size // processes.count, seed=0, **share)):
        state.step(training.steps // 2 + step, batch, lambda: False)
        now = clock()
        seconds.append(now - before)
        before, measured = now, seconds[WARM_UP:]
        if processes.any(len(measured) == MOST or (len(measured) >= LEAST and sum(measured) >= ENOUGH))[0]:
            break
    state.finish()
    processes.from_main(lambda: job.save(prepared.task, folder))
    return {"prepare_seconds": ready - started, "step_seconds": sum(seconds[WARM_UP:]) / len(seconds[WARM_UP:])}
