"""What training changes: networks, optimisers, the average, and what the task remembers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from var.data.base import ImageData
from var.data.batches import Batch
from var.errors import UserError
from var.eval_mode import eval_mode
from var.randomness import keyed_global_stream
from var.training.buffers import SharedBuffers
from var.training.checkpoints import SavedTensors
from var.training.distributed import Processes
from var.training.ema import AveragedWeights
from var.training.network_trainer import NetworkTrainer, Numbers
from var.training.non_finite import non_finite_error
from var.training.optimization import TrainingConfig, learning_rate_factor
from var.training.sharding import whole, write
from var.training.task import AdversarialTask, StatefulTask, SteppedTask, Task, WaitingTask
from var.weights import check_fit, kinds_of

_TASK = "task_"  # files of what the task remembers, one per process


class TrainingState:
    """A task in training on these processes: `step` moves it; `tensors` and `facts` say all that it was moved to."""

    def __init__(self, task: Task, data: ImageData, config: TrainingConfig, processes: Processes) -> None:
        self.task, self.data, self.config, self.processes = task, data, config, processes
        opponent = task.opponent if isinstance(task, AdversarialTask) else None
        _check(config, processes, opponent)
        bf16 = config.mixed_precision == "bf16"
        model = NetworkTrainer(
            task.model,
            config,
            processes,
            bf16=bf16,
            find_unused=getattr(task, "find_unused_parameters", False),
            compiled=config.compile,
            sharding=config.sharding,
        )
        self.trainers = {"model": model}
        if opponent is not None:
            assert isinstance(task, AdversarialTask)
            self.trainers["opponent"] = NetworkTrainer(opponent, task.opponent_training, processes, bf16=bf16)
        self._network = model.network
        self._average = AveragedWeights(self._network, config.ema_decay) if config.ema_decay else None
        self._buffers = SharedBuffers([trainer.network for trainer in self.trainers.values()], processes)

    def step(self, step: int, batch: Batch, stopping: Callable[[], bool]) -> tuple[Numbers, bool]:
        """Take the step number `step` (from 0) with this process' share of the global batch.

        Returns the numbers to log, and whether any process is `stopping`, as it finds when the gradient is there.
        Raises `NonFiniteLossError` on all of them before a NaN or infinite step of one would reach the weights.
        """
        self._buffers.begin_step()
        if isinstance(self.task, SteppedTask):
            self.task.begin_step(step)
        parts, key = self._parts(batch), (self.config.seed, step)
        model, opponent = self.trainers["model"], self.trainers.get("opponent")
        with opponent.still() if opponent else ExitStack():
            found = model.gradient(self.task.loss, parts, key, ("loss", "layers"))
        numbers, stop = self._descend("", model, found, parts, step, stopping)
        # Steps with a gradient of zero would fill Adam's moments with zeros, and weight decay would move the weights.
        if opponent and not (isinstance(self.task, WaitingTask) and not self.task.opponent_learns):
            assert isinstance(self.task, AdversarialTask)
            found = opponent.gradient(self.task.opponent_loss, parts, key, ("opponent", "opponent_layers"))
            more, stop = self._descend("opponent_", opponent, found, parts, step, lambda: stop)
            numbers |= more
        if self._average:
            self._average.update(self._network)
        return numbers, stop

    def _descend(
        self,
        prefix: str,
        trainer: NetworkTrainer,
        found: tuple[Tensor, Tensor, Numbers],
        parts: Sequence[tuple[int, Batch]],
        step: int,
        stopping: Callable[[], bool],
    ) -> tuple[Numbers, bool]:
        """The agreement of all processes on the gradient that was `found`, then the optimiser's step."""
        loss, norm, numbers = found
        bad, stop = self.processes.any(~(torch.isfinite(loss) & torch.isfinite(norm)), stopping())
        if bad:
            for each in self.trainers.values():
                each.forget_gradient()
            self._buffers.restore()
            batches = [batch for _, batch in parts]
            raise non_finite_error(f"{prefix}loss", step, loss, norm, batches, self.data, self.processes)
        rate = trainer.settings.learning_rate * learning_rate_factor(self.config, step)
        trainer.step(rate)
        logged = {f"{prefix}loss": loss, f"{prefix}gradient_norm": norm, f"{prefix}learning_rate": rate}
        return {**logged, **numbers}, stop

    def _parts(self, batch: Batch) -> list[tuple[int, Batch]]:
        """The micro-batches with their numbers: equal parts of the global batch are numbered through all processes."""
        count = self.config.micro_batches
        batch = batch.to(self.processes.device)
        if count == 1:
            return [(self.processes.rank, batch)]
        return [(self.processes.rank * count + number, part) for number, part in enumerate(batch.split(count))]

    @contextmanager
    def averaged(self, step: int) -> Iterator[nn.Module]:
        """The task's model with the averaged weights, in eval mode, its draws keyed by `step`; then all is as before.

        Every process must enter.
        """
        model = self.task.model
        home = next(model.parameters()).device
        with ExitStack() as stack:
            if self._network is not model:
                self._gather(model)
                model.to(self.processes.device if self.processes.is_main else home)
                stack.callback(model.to, home)
            elif self._average:
                stack.enter_context(self._average.inside(model))
            stack.enter_context(keyed_global_stream("evaluate", self.config.seed, step, device=self.processes.device))
            stack.enter_context(torch.no_grad())
            stack.enter_context(eval_mode(model))
            yield model

    def finish(self) -> None:
        """Leave the averaged weights (if on) in the task's model, in eval mode."""
        self._gather(self.task.model)
        self.task.model.eval()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All tensors by file and name, sharing memory with the state; spread ones are not whole."""
        files: dict[str, dict[str, Tensor]] = {}
        for kind, trainer in self.trainers.items():
            files[kind] = saved = trainer.network.state_dict()
            files[f"{kind}_buffers"] = {name: b for name, b in trainer.network.named_buffers() if name not in saved}
            files[f"{kind}_optimizer"] = trainer.moments()
        if self._average:
            files["average"] = self._average.average
        for rank, memory in enumerate(self._memories()):
            files[f"{_TASK}{rank}"] = {name: value for name, value in memory.items() if isinstance(value, Tensor)}
        return {file: tensors for file, tensors in files.items() if tensors}

    def facts(self) -> dict[str, Any]:
        """What is no tensor, as JSON can say it; every process must ask, as for `tensors`."""
        plain = [{k: v for k, v in memory.items() if not isinstance(v, Tensor)} for memory in self._memories()]
        return {"average_updates": self._average.updates if self._average else 0, "task": plain}

    def restore(self, saved: SavedTensors, facts: Mapping[str, Any], source: str) -> None:
        """Become the state that gave these tensors and facts; raises `UserError` naming `source` if they do not fit."""
        for kind, trainer in self.trainers.items():
            trainer.prepare_moments(saved.kinds.get(f"{kind}_optimizer", {}))
        targets = {file: tensors for file, tensors in self.tensors().items() if not file.startswith(_TASK)}
        wanted = {f"{file}/{name}": kind for file in targets for name, kind in kinds_of(targets[file]).items()}
        found = {f"{file}/{name}": kind for file, kinds in saved.kinds.items() for name, kind in kinds.items()}
        check_fit(
            wanted,
            {name: kind for name, kind in found.items() if not name.startswith(_TASK)},
            f"{source} must hold the state of this model and task",
            "go back to the code and settings that saved it, or give another folder to begin anew",
            any_float=False,
        )
        for file, tensors in targets.items():
            for name, target in tensors.items():
                write(target.detach(), saved.load(file, name))
        if self._average:
            self._average.updates = facts["average_updates"]
        memories = [dict(memory) for memory in facts["task"]]
        for rank, memory in enumerate(memories):
            file = f"{_TASK}{rank}"
            memory |= {name: saved.load(file, name).to(self.processes.device) for name in saved.kinds.get(file, {})}
        if isinstance(self.task, StatefulTask):
            # With another number of processes, all go on with what the main one remembered.
            self.task.load_state_dict(memories[self.processes.rank if len(memories) == self.processes.count else 0])

    def _memories(self) -> list[dict[str, Any]]:
        """What the task remembers on every process."""
        own = self.task.state_dict() if isinstance(self.task, StatefulTask) else {}
        return self.processes.gather({k: v.cpu() if isinstance(v, Tensor) else v for k, v in own.items()})

    @torch.no_grad()
    def _gather(self, model: nn.Module) -> None:
        """Put the averaged weights, or those in training, whole into `model`, the one that is trained or another."""
        values = self._average.average if self._average else self._network.state_dict()
        for name, target in model.state_dict().items():
            target.copy_(whole(values[name]))


def check_shares(config: TrainingConfig, processes: int) -> None:
    """Raise `UserError` for a batch that does not divide into equal parts."""
    shares = processes * config.micro_batches
    if config.batch_size % shares:
        raise UserError(
            f"the batch size must divide into equal parts for {processes} process(es) x {config.micro_batches} "
            f"micro-batch(es), got {config.batch_size}; use a multiple of {shares}"
        )


def _check(config: TrainingConfig, processes: Processes, opponent: nn.Module | None) -> None:
    check_shares(config, processes.count)
    if config.sharding == "fsdp" and processes.count == 1:
        raise UserError(
            'sharding="fsdp" spreads a model over several processes, got one; start them with '
            "python -m torch.distributed.run --standalone --nproc_per_node N, or leave the sharding out"
        )
    if config.sharding == "fsdp" and opponent is not None:
        raise UserError('sharding="fsdp" is for tasks of one network, got one with an opponent; leave the sharding out')
