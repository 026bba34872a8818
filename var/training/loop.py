"""The training loop, the same for every task, on the processes and the device that accelerate manages."""

import logging
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from var.configs import config_to_dict
from var.data.augment import Augmentation
from var.data.base import ImageData
from var.data.batches import Batch, batches
from var.data.workers import check_workers
from var.training.checkpoints import CheckpointPolicy
from var.training.distributed import Processes
from var.training.metrics_log import MetricsLog
from var.training.network_trainer import Numbers
from var.training.optimization import TrainingConfig
from var.training.periodic_evaluation import PeriodicEvaluation
from var.training.resuming import Checkpoints, RunProgress
from var.training.signals import StopSignals
from var.training.state import TrainingState
from var.training.task import Task, WatchfulTask
from var.training.tracking import Trackers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a run leaves besides the weights, which are in the task's model."""

    history: list[dict[str, float]]
    """A row every `log_every` steps: step, loss, learning_rate, ... (window means); and a row for every evaluation.

    With a log, the rows of earlier starts stand before those of this one.
    """
    seconds: float  # wall time of the loop, over all starts
    finished: bool = True  # False if a signal stopped it early; the checkpoint then holds what was done
    resumed_from: int | None = None  # the step of the checkpoint that it went on from
    steps: int = 0  # done in all


def train(
    task: Task,
    data: ImageData,
    config: TrainingConfig,
    *,
    augment: Augmentation | None = None,
    log: Path | None = None,
    description: str = "train",
    progress: bool = True,
    bar_line: int = 0,
    device: str | None = None,
    checkpoints: CheckpointPolicy | None = None,
    workers: int = 0,
    trackers: Sequence[str] = (),
    evaluate: PeriodicEvaluation | None = None,
) -> TrainingResult:
    """Train `task.model` on `data`; at the end it holds the averaged weights (if on) and is in eval mode.

    Every random draw is keyed, so that the result depends on the configuration, the data and the number of parts
    (processes x micro-batches) only: not on `workers`, and not on how often a run with `checkpoints` was killed and
    called again. SIGTERM and SIGUSR1 end such a run after the step in progress, saved. A run called again with more
    steps goes on to them; if its learning rate would have been another so far, that is said.

    Args:
        task: what is trained, and how its loss is computed.
        data: the images.
        config: hyperparameters.
        augment: changes the images.
        log: receives a JSON line every `config.log_every` steps.
        description: name in the progress bar and in trackers.
        progress: whether to show a bar.
        bar_line: line of the terminal for the bar, for runs side by side.
        device: "cpu", "cuda", ... or None for accelerate's choice.
        checkpoints: where and how often to save; None saves nothing.
        workers: processes that load images.
        trackers: services that get the log too: "tensorboard", "trackio", "wandb".
        evaluate: what to do with the model now and then.

    Raises `NonFiniteLossError` on all processes, before a NaN or infinite step of one would reach the weights, and
    `UserError` for a checkpoint of another run or of more steps, no room to save, fewer processes than asked for, and
    impossible settings.
    """
    workers = check_workers(workers)
    state = TrainingState(task, data, config, Processes(device))
    with ExitStack() as opened:
        keeper = Checkpoints(checkpoints, state) if checkpoints else None
        signals = StopSignals()
        if keeper:
            opened.enter_context(keeper.opened())
            opened.enter_context(signals)
        resumed = keeper.resume() if keeper else RunProgress()
        services = Trackers(trackers, log.parent if log else None, description, config_to_dict(config))
        opened.enter_context(closing(services))
        metrics = _metrics_log(log, state, resumed, services)
        stream = _stream(state, resumed.step, augment, workers)
        opened.enter_context(closing(stream))
        hidden = not (progress and state.processes.is_main)
        bar = tqdm(total=config.steps, initial=resumed.step, desc=description, disable=hidden, position=bar_line)
        opened.enter_context(bar)
        done, seconds = _Run(state, metrics, keeper, evaluate, signals, bar).take_steps(stream, resumed)
        state.finish()
    return TrainingResult(
        history=metrics.rows,
        seconds=seconds,
        finished=done == config.steps,
        resumed_from=resumed.step or None,
        steps=done,
    )


def _metrics_log(log: Path | None, state: TrainingState, resumed: RunProgress, services: Trackers) -> MetricsLog:
    """The log of a run, which goes on after the step that was resumed."""
    return MetricsLog(
        log if state.processes.is_main else None,
        state.config.log_every,
        start=resumed.step,
        window=resumed.window,
        gather=state.processes.gather,
        listen=services.log,
    )


def _stream(
    state: TrainingState, start: int, augment: Augmentation | None, workers: int
) -> Generator[Batch, None, None]:
    """The batches of this process from step `start` on."""
    processes, config = state.processes, state.config
    return batches(
        state.data,
        config.batch_size // processes.count,
        seed=config.seed,
        start_step=start,
        augment=augment,
        rank=processes.rank,
        world_size=processes.count,
        workers=workers,
        pin_memory=processes.device.type == "cuda",
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """The loop with everything open that it needs."""

    state: TrainingState
    metrics: MetricsLog
    keeper: Checkpoints | None
    evaluate: PeriodicEvaluation | None
    signals: StopSignals
    bar: tqdm

    def take_steps(self, stream: Iterable[Batch], resumed: RunProgress) -> tuple[int, float]:
        """Train to the end or to a signal; returns the steps done and the seconds that they took, over all starts."""
        started = time.perf_counter() - resumed.seconds
        done, steps = resumed.step, self.state.config.steps
        if resumed.evaluation_due:
            self._evaluate(done)
        for step, batch in zip(range(done, steps), stream, strict=False):
            numbers, stop = self.state.step(step, batch, self.signals.requested)
            done = step + 1
            last = done == steps
            self._log(step, numbers, last)
            due = self.evaluate is not None and self.evaluate.due(done, steps)
            # Who sends a signal does not wait for an evaluation: the next start makes up for it.
            postponed = due and stop and not last
            if due and not postponed:
                self._evaluate(done)
            if self.keeper and (stop or self.keeper.due(done, steps)):
                self.keeper.save(RunProgress(done, self.metrics.saved(), time.perf_counter() - started, postponed))
            self.bar.update()
            if stop:
                break
        return done, time.perf_counter() - started

    def _evaluate(self, done: int) -> None:
        assert self.evaluate is not None
        folder = self.keeper.policy.folder if self.keeper else None
        self.metrics.write(done, self.evaluate.numbers(self.state, done, folder))

    def _log(self, step: int, numbers: Numbers, last: bool) -> None:
        """Take the numbers of a step; show and watch them when they complete a row."""
        if not self.metrics.add(step, numbers, last=last):
            return
        row = self.metrics.rows[-1]
        self.bar.set_postfix(loss=f"{row['loss']:.4g}", refresh=False)
        task = self.state.task
        if isinstance(task, WatchfulTask) and self.state.processes.is_main:
            for text in task.warnings(step + 1, row):
                self.metrics.note(step + 1, text)
                with tqdm.external_write_mode():  # not into the middle of a bar
                    logger.warning("step %d: %s", step + 1, text)
