"""One start of a training run from the command line: check, prepare, train or go on, save."""

import argparse
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from math import isfinite
from typing import Any

import torch
from torch import nn

from var.data.bad_images import skipped_summary
from var.data.base import ImageData, fingerprint
from var.data.batches import check_batch
from var.errors import UserError
from var.locks import sole_owner
from var.runs.evaluation import Evaluation
from var.runs.fitting import fitted, what_fits
from var.runs.folder import RunFolder
from var.runs.job import Job, Prepared
from var.runs.memory import check_memory
from var.runs.overrides import FACTS, differences, settings_to_dict
from var.runs.plan import count
from var.runs.session import Session
from var.training import CheckpointPolicy, PeriodicEvaluation, Task, train
from var.training.signals import StoppedError, StopSignals, end_in_peace
from var.training.state import check_shares
from var.version import __version__


def train_command(arguments: argparse.Namespace, job_of: Callable[[argparse.Namespace], Job[Any]]) -> None:
    """Show the plan of the job that the `arguments` ask for, or train until it is finished or a signal stops it.

    A signal to stop is obeyed at once until there is something to save; then the step in progress is done and saved,
    and after the last one the model.
    """
    session = Session.of(arguments)
    if arguments.plan:
        job = fitted(job_of(arguments), session)
        plan = job.plan(session.processes.count)
        session.say(replace(plan, notes=(*what_fits(job, plan, session.processes), *plan.notes, *job.remarks())).text())
        return
    try:
        with StopSignals(raising=True) as signals:
            carry_out(job_of(arguments), session, signals)
            session.processes.leave()
            end_in_peace()
    except StoppedError:
        session.say(f"stopped before the first step; run the same command again to go on in {session.folder.path}")


def carry_out(job: Job[Any], session: Session, signals: StopSignals) -> None:
    """Train until the run is finished or one of `signals` stops it, and save what was trained."""
    job = fitted(job, session)
    folder, settings = session.folder, job.settings
    remarks = job.remarks()  # held-out images that cannot be used are refused before anything is written
    facts = {"kind": job.kind, "data": _data_facts(job.data), **job.facts()}
    _agree(session, job, facts)
    # A batch that cannot be, too: the folder would keep the number, and refuse the corrected one.
    check_shares(settings.training, session.processes.count)
    check_batch(len(job.data), settings.training.batch_size // session.processes.count, session.processes.count)
    with ExitStack() as lock:
        if not session.processes.from_main(lambda: _enter(session, job, facts, lock)):
            session.say(
                f"{folder.path} is a finished run of {count(settings.training.steps, 'step')}; nothing is left to do "
                "(more training.steps train it on)"
            )
            return
        prepared = _prepared(job, session)
        for line in (_introduction(job, prepared.task), *remarks):
            session.say(line)
        signals.remember()
        _train(job, session, prepared, facts)


def _agree(session: Session, job: Job[Any], facts: dict[str, Any]) -> None:
    """Raise `UserError` unless all processes were started alike."""
    processes = session.processes
    own = {**settings_to_dict(job.settings), FACTS: facts}
    # All wait here for each other: the folder changes as soon as one of them takes it.
    for rank, other in enumerate(processes.gather(own)):
        # The place of the data may be another one on another machine; what they are is in their fingerprint.
        if changed := [text for text in differences(own, other) if not text.startswith("data.source ")]:
            raise UserError(
                "all processes of a run must have the same settings and data, but from process "
                f"{processes.rank} to process {rank}: {'; '.join(changed)}; start all with one command, on one data set"
            )


def _enter(session: Session, job: Job[Any], facts: dict[str, Any], lock: ExitStack) -> bool:
    """Take the run's folder, the main process for all; False if its run is finished. Raises `UserError` for another's.

    What is only looked at needs no lock, and no right to write.
    """
    folder, steps = session.folder, job.settings.training.steps
    folder.compare(job.kind, job.settings, facts)
    if folder.is_finished(steps):
        return False
    lock.enter_context(sole_owner(folder.path))
    folder.compare(job.kind, job.settings, facts)  # again: who held it may have begun or finished a run
    if folder.check_steps(steps):
        return False
    versions = {"next-scale": __version__, "torch": torch.__version__}
    folder.claim(job.kind, job.settings, {**facts, "versions": versions})
    return True


def _prepared(job: Job[Any], session: Session) -> Prepared:
    """What is trained, if it fits; a new run that cannot be prepared, for a mistake of the user, leaves no folder."""
    try:
        prepared = job.prepare(session)
        check_memory(prepared.task, job.settings.training, session.processes)
    except UserError:
        session.folder.release()
        raise
    return prepared


def _train(job: Job[Any], session: Session, prepared: Prepared, identity: dict[str, Any]) -> None:
    settings, folder = job.settings, session.folder
    result = train(
        prepared.task,
        prepared.data,
        settings.training,
        augment=settings.data.augmentation() if prepared.vary else None,
        log=folder.log,
        description=job.kind,
        progress=session.progress,
        bar_line=session.bar_line,
        device=session.processes.device.type,
        checkpoints=CheckpointPolicy(
            folder=folder.checkpoints,
            every=settings.checkpoints.every,
            keep=settings.checkpoints.keep,
            identity={"run": identity},
        ),
        workers=session.workers,
        trackers=session.trackers,
        evaluate=_periodic(prepared.evaluation, settings.evaluation.every, folder),
    )
    if skipped := skipped_summary(prepared.data, session.processes.gather):
        session.say(skipped)
    if not result.finished:
        session.say(
            f"stopped after step {result.steps:,} of {settings.training.steps:,}, which is saved; "
            f"run the same command again to go on in {folder.path}"
        )
        return

    def save() -> str:
        usage = job.save(prepared.task, folder.path)
        scores = next((row for row in reversed(result.history) if prepared.evaluation.best in row), {})
        scores = {name: value if isfinite(value) else None for name, value in scores.items()}  # JSON has no NaN
        folder.finish({"steps": result.steps, "seconds": round(result.seconds, 1), "scores": scores})
        return usage

    usage = session.processes.from_main(save)
    start = f"went on from step {result.resumed_from:,}, " if result.resumed_from else ""
    steps = count(settings.training.steps, "step")
    session.say(f"{start}finished {steps} in {_duration(result.seconds)}{_scores(result.history, job.shares)}")
    session.say(usage)


def _periodic(evaluation: Evaluation, every: int, folder: RunFolder) -> PeriodicEvaluation | None:
    if not every:
        return None

    def run(step: int, model: nn.Module) -> dict[str, float]:
        return evaluation.scores(model, folder.samples / f"step-{step:06d}.png")

    return PeriodicEvaluation(every=every, run=run, best=evaluation.best)


def _data_facts(data: ImageData) -> dict[str, Any]:
    names = list(data.classes) if len(data.classes) <= 20 else f"{len(data.classes)} classes"
    return {"images": len(data), "shape": list(data.shape), "classes": names, "fingerprint": fingerprint(data)}


def _introduction(job: Job[Any], task: Task) -> str:
    settings = job.settings
    parameters = sum(weight.numel() for weight in task.model.parameters())
    epochs = settings.training.steps * settings.training.batch_size / len(job.data)
    classes = count(len(job.data.classes), "class", "classes")
    return (
        f"{parameters:,} parameters, {count(len(job.data), 'image')} in {classes}, "
        f"{count(settings.training.steps, 'step')} of {settings.training.batch_size} images = {epochs:.1f} epochs"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _scores(history: list[dict[str, float]], shares: Collection[str]) -> str:
    """The numbers of the last evaluation; those that are `shares` of something in percent, for 1 would be one."""
    evaluations = [row for row in history if "loss" not in row]
    if not evaluations:
        return ""
    told = {name: f"{name} {value:.4g}" for name, value in evaluations[-1].items() if name != "step"}
    told |= {name: f"{name.replace('_', ' ')} {100 * evaluations[-1][name]:.3g}%" for name in shares if name in told}
    return "; " + ", ".join(told.values())
