"""A network that learns: its optimiser, and one gradient step over the parts of a batch."""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from var.data.batches import Batch
from var.errors import UserError, listed
from var.randomness import keyed_generator, keyed_global_stream
from var.training.distributed import Processes
from var.training.muon import Muon
from var.training.optimization import TrainingConfig, build_optimizers
from var.training.sharding import shard, whole
from var.training.task import Numbers

_MOMENTS = {torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"), Muon: ("momentum",)}  # remembered of a parameter


Loss = Callable[[nn.Module, Batch, torch.Generator], tuple[Tensor, Numbers]]


class NetworkTrainer:
    """A network, its optimiser, and the network as its loss must call it.

    Attributes:
        network: holds the weights under the names of the checkpoint; a copy of the given one if sharded.
        model: `network` as wrapped for several processes and by torch.compile.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TrainingConfig,
        processes: Processes,
        *,
        bf16: bool = False,
        find_unused: bool = False,
        compiled: bool = False,
        sharding: Literal["none", "fsdp"] = "none",
    ) -> None:
        self.settings = settings
        self._bf16 = bf16
        self.device = processes.device
        _check_trainable(network)
        if sharding == "fsdp":
            self.network = self._wrapped = shard(network, processes.device, processes.count)
        else:
            self.network = network.to(processes.device)
            self._wrapped = processes.replicate(network, find_unused_parameters=find_unused)
        self.network.train()
        self._wrapped.train()
        self.model = cast(nn.Module, torch.compile(self._wrapped)) if compiled else self._wrapped
        self.optimizers = build_optimizers(self.network, settings)
        self._trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def gradient(
        self, compute: Loss, parts: Sequence[tuple[int, Batch]], key: tuple[int, int], streams: tuple[str, str]
    ) -> tuple[Tensor, Tensor, Numbers]:
        """Collect the gradient of the mean loss of `parts`, clipped; returns that loss, the norm and the mean numbers.

        Each part of the global batch has its number, which with `key` (seed, step) keys two `streams`: the generator
        of the loss, and the global one for dropout and drop path, which take no generator.
        """
        losses: list[Tensor] = []
        numbers: list[Numbers] = []
        for place, (part, batch) in enumerate(parts):
            with self._exchange(last=place + 1 == len(parts)):
                with (
                    keyed_global_stream(streams[1], *key, part, device=self.device),
                    torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16),
                ):
                    generator = keyed_generator(streams[0], *key, part, device=self.device)
                    loss, logged = compute(self.model, batch, generator)
                (loss / len(parts)).backward()
            losses.append(loss.detach())
            numbers.append(logged)
        self._check_all_used()
        norm = whole(nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm))
        return torch.stack(losses).mean(), norm.to(self.device), _means(numbers)

    def _check_all_used(self) -> None:
        """Refuse what DDP would leave unshared, and complain about one step later."""
        if not isinstance(self._wrapped, DistributedDataParallel) or self._wrapped.find_unused_parameters:
            return
        lacking = [name for name, p in self.network.named_parameters() if p.requires_grad and p.grad is None]
        if lacking:
            raise UserError(
                "with several processes every parameter must get a gradient in every step, but none came to "
                f"{listed(lacking, 5)}; freeze what is not used, or give the task find_unused_parameters = True"
            )

    def step(self, rate: float) -> None:
        """Move the weights along the collected gradient, at the learning rate `rate`."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self.forget_gradient()

    def forget_gradient(self) -> None:
        """Drop what was collected."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def moments(self) -> dict[str, Tensor]:
        """The optimisers' state by the names of the parameters; those that never had a gradient have none."""
        states = {parameter: state for optimizer in self.optimizers for parameter, state in optimizer.state.items()}
        return {
            f"{moment}.{name}": value
            for name, parameter in self.network.named_parameters()
            for moment, value in states.get(parameter, {}).items()
        }

    def prepare_moments(self, names: Container[str]) -> None:
        """Make a state, to be filled, for each parameter that has one in `names`, as `moments` gives them."""
        owners = {p: each for each in self.optimizers for group in each.param_groups for p in group["params"]}
        for name, parameter in self.network.named_parameters():
            if parameter not in owners:
                continue
            first, *others = _MOMENTS[type(owners[parameter])]
            if f"{first}.{name}" in names:
                state = owners[parameter].state[parameter]
                state[first] = torch.zeros((), device=self.device) if first == "step" else torch.zeros_like(parameter)
                state |= {moment: torch.zeros_like(parameter) for moment in others}

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let gradients pass through the network, but not into it, inside the block."""
        for parameter in self._trained:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._trained:
                parameter.requires_grad_(True)

    @contextmanager
    def _exchange(self, *, last: bool) -> Iterator[None]:
        """Let the processes exchange gradients once a step, at the `last` part."""
        if isinstance(self._wrapped, FSDPModule):
            self._wrapped.set_requires_gradient_sync(last)
        if isinstance(self._wrapped, DistributedDataParallel) and not last:
            with self._wrapped.no_sync():
                yield
        else:
            yield


def _check_trainable(network: nn.Module) -> None:
    """Raise `UserError` for weights that autograd cannot take."""
    names = [name for name, each in (*network.named_parameters(), *network.named_buffers()) if each.is_inference()]
    if names:
        raise UserError(
            f"training needs weights that may enter autograd, got some made inside torch.inference_mode(): "
            f"{listed(names, 3)}; build, load and change the model outside of it"
        )


def _means(numbers: list[Numbers]) -> Numbers:
    if len(numbers) == 1:
        return numbers[0]
    names = {name: None for part in numbers for name in part}
    found = {name: [part[name] for part in numbers if name in part] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}
