"""One start of a training run from the command line: check, prepare, train or go on, save."""

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from var.data.bad_images import skipped_summary
from var.data.base import ImageData, fingerprint
from var.data.catalog import open_data
from var.errors import UserError
from var.quantities import count
from var.runs.folder import RunFolder
from var.runs.overrides import FACTS, differences, settings_to_dict
from var.runs.plan import Plan
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import CheckpointPolicy, PeriodicEvaluation, Task, TrainingConfig, train
from var.training.distributed import Processes
from var.version import __version__


class StoppedError(Exception):
    """A signal asked to stop while the run was being prepared."""


class RunSettings(Protocol):
    """What the settings of every run have."""

    @property
    def data(self) -> DataSettings:
        """Which images."""
        ...

    @property
    def training(self) -> TrainingConfig:
        """How the loop trains."""
        ...

    @property
    def evaluation(self) -> EvaluationSettings:
        """The looks in between."""
        ...

    @property
    def checkpoints(self) -> CheckpointSettings:
        """When the run is saved."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where and how this start of a run works; it changes nothing in the result."""

    folder: RunFolder
    processes: Processes
    progress: bool
    workers: int
    trackers: tuple[str, ...]
    on_bad_image: str = "error"

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Session":
        """As the options say."""
        return cls(
            folder=RunFolder(arguments.output.expanduser()),
            processes=Processes(arguments.device),
            progress=not arguments.quiet,
            workers=arguments.workers,
            trackers=tuple(arguments.track),
            on_bad_image=arguments.on_bad_image,
        )

    def say(self, text: str) -> None:
        """Print a line, once for all processes."""
        if self.processes.is_main:
            print(text, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the loop needs."""

    task: Task
    data: ImageData  # of the batches
    vary: bool = True  # whether the batches are augmented; tokens of a cache are already
    look: Callable[[nn.Module, Path], dict[str, float]]  # (model, picture) -> scores
    best: str  # the score by which the best weights are kept


class Job(Protocol):
    """One kind of training."""

    @property
    def kind(self) -> str:
        """A word for messages and for the run's file."""
        ...

    @property
    def settings(self) -> RunSettings:
        """All that moves the result."""
        ...

    @property
    def data(self) -> ImageData:
        """The images that are trained on."""
        ...

    def facts(self) -> dict[str, Any]:
        """What must agree when the run goes on, besides settings and data; fit for JSON."""
        ...

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        ...

    def prepare(self, session: Session) -> Prepared:
        """Build the model and all that it is trained with; every process calls this."""
        ...

    def save(self, task: Task, folder: Path) -> str:
        """Save what was trained into the run's folder; returns how to use it, in a line."""
        ...


def open_training_data(settings: DataSettings, arguments: argparse.Namespace, shape: tuple[int, int, int]) -> ImageData:
    """The images of a run, of the `shape` (channels, height, width) that its model takes."""
    channels, height, width = shape
    folder = RunFolder(arguments.output.expanduser())
    return open_data(
        settings.source,
        size=(height, width),
        channels=channels,
        on_bad_image=arguments.on_bad_image,
        # A plan writes nothing.
        index=None if arguments.plan else folder.listing,
        progress=not arguments.quiet,
    )


def carry_out(job: Job, session: Session, *, plan_only: bool = False) -> None:
    """Show the plan of `job`, or train until it is finished or a signal stops it, and save what was trained."""
    processes, folder, settings = session.processes, session.folder, job.settings
    if plan_only:
        session.say(job.plan(processes.count).text())
        return
    facts = {"kind": job.kind, "data": _data_facts(job.data), **job.facts()}
    if not _enter(session, job, facts):
        session.say(
            f"{folder.path} is a finished run of {count(settings.training.steps, 'step')}; nothing is left to do "
            "(more training.steps train it on)"
        )
        return
    try:
        with raising_signals():
            prepared = job.prepare(session)
    except StoppedError:
        session.say(f"stopped before the first step; run the same command again to go on in {folder.path}")
        return
    session.say(_introduction(job, prepared.task))
    _train(job, session, prepared, facts)


def _enter(session: Session, job: Job, facts: dict[str, Any]) -> bool:
    """Take the run's folder, for all processes; False if its run is finished. Raises `UserError` for another run's."""
    processes, folder = session.processes, session.folder
    plain = settings_to_dict(job.settings)
    own = {**plain, FACTS: facts}
    # All wait here for each other: the folder changes as soon as one of them takes it.
    for rank, other in enumerate(processes.gather(own)):
        # The place of the data may be another one on another machine; what they are is in their fingerprint.
        if changed := [text for text in differences(own, other) if not text.startswith("data.source ")]:
            raise UserError(
                "all processes of a run must have the same settings and data, but from process "
                f"{processes.rank} to process {rank}: {'; '.join(changed)}; start all with one command, on one data set"
            )
    versions = {"next-scale": __version__, "torch": torch.__version__}

    def take() -> bool:
        folder.compare(job.kind, plain, facts)
        if folder.check_steps(job.settings.training.steps):
            return False
        folder.claim(job.kind, plain, {**facts, "versions": versions})
        return True

    return processes.from_main(take)


def _train(job: Job, session: Session, prepared: Prepared, identity: dict[str, Any]) -> None:
    settings, folder = job.settings, session.folder
    result = train(
        prepared.task,
        prepared.data,
        settings.training,
        augment=settings.data.augmentation() if prepared.vary else None,
        log=folder.log,
        description=job.kind,
        progress=session.progress,
        device=session.processes.device.type,
        checkpoints=CheckpointPolicy(
            folder=folder.checkpoints,
            every=settings.checkpoints.every,
            keep=settings.checkpoints.keep,
            identity={"run": identity},
        ),
        workers=session.workers,
        trackers=session.trackers,
        evaluate=_evaluation(settings.evaluation, folder, prepared),
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
        scores = next((row for row in reversed(result.history) if prepared.best in row), {})
        folder.finish({"steps": result.steps, "seconds": round(result.seconds, 1), "scores": scores})
        return usage

    usage = session.processes.from_main(save)
    start = f"went on from step {result.resumed_from:,}, " if result.resumed_from else ""
    steps = count(settings.training.steps, "step")
    session.say(f"{start}finished {steps} in {_duration(result.seconds)}{_scores(result.history)}")
    session.say(usage)


def _evaluation(settings: EvaluationSettings, folder: RunFolder, prepared: Prepared) -> PeriodicEvaluation | None:
    if not settings.every:
        return None

    def run(step: int, model: nn.Module) -> dict[str, float]:
        return prepared.look(model, folder.samples / f"step-{step:06d}.png")

    return PeriodicEvaluation(every=settings.every, run=run, best=prepared.best)


@contextmanager
def raising_signals() -> Iterator[None]:
    """Inside the block, SIGTERM and SIGUSR1 raise `StoppedError`; all files are written whole or not at all."""

    def stop(*_: object) -> None:
        raise StoppedError

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _data_facts(data: ImageData) -> dict[str, Any]:
    names = list(data.classes) if len(data.classes) <= 20 else f"{len(data.classes)} classes"
    return {"images": len(data), "shape": list(data.shape), "classes": names, "fingerprint": fingerprint(data)}


def _introduction(job: Job, task: Task) -> str:
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


def _scores(history: list[dict[str, float]]) -> str:
    looks = [row for row in history if "loss" not in row]
    if not looks:
        return ""
    return "; " + ", ".join(f"{name} {value:.4g}" for name, value in looks[-1].items() if name != "step")
