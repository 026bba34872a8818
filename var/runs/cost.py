"""What a training step costs: planned on the meta device, where tensors have shapes and no data, or counted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from var.data.base import ImageData
from var.data.batches import batches
from var.linear import kernel_flops
from var.randomness import keyed_generator
from var.training import Task, TrainingConfig
from var.training.optimization import optimizer_flops
from var.training.task import AdversarialTask, PeriodicTask, SteppedTask, WaitingTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Forward and backward pass of one batch."""

    flops: int  # of matrix products and convolutions; a multiplication and an addition are two
    kept: int  # bytes of the activations that the backward pass needs, without the weights

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(flops=self.flops + other.flops, kept=self.kept + other.kept)


def cost_of(model: nn.Module, loss: Callable[[], Tensor], *, backward: bool = True) -> Cost:
    """The cost of `loss()`, a pass through `model`, where both live on the meta device.

    Attention counts as the fused kernel: its matrix of probabilities is not kept. Element-wise work has no FLOPs here.
    """
    weights = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, FusedAttention() as attention:
        if not backward:
            with torch.no_grad():
                loss()
            return Cost(flops=counter.get_total_flops() + attention.flops, kept=0)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            value = loss()
        activations = sum(kept.values())
        value.backward()
    # Two products forward, four backward.
    return Cost(flops=counter.get_total_flops() + 3 * attention.flops, kept=activations)


def training_flops(task: Task, data: ImageData, config: TrainingConfig) -> int:
    """Operations of all steps of a training: products and convolutions of both passes, and of the optimiser.

    Counted in one real step from the middle of the training, or a period of them, where `cost_of` plans one; an
    opponent's part is included if it learns by then. It leaves gradients and moved buffers behind in `task.model`: give
    one that is not needed afterwards.
    """
    device = next(task.model.parameters()).device
    batch = next(iter(batches(data, config.batch_size, seed=0))).to(device)
    generator = keyed_generator("flops", device=device)
    period = task.period if isinstance(task, PeriodicTask) else 1
    with Operations() as counter:
        for step in range(period):
            if isinstance(task, SteppedTask):
                task.begin_step(config.steps // 2 + step)
            loss, _ = task.loss(task.model.train(), batch, generator)
            loss.backward()
            waits = isinstance(task, WaitingTask) and not task.opponent_learns
            if isinstance(task, AdversarialTask) and (opponent := task.opponent) is not None and not waits:
                task.opponent_loss(opponent.to(device), batch, generator)[0].backward()
    return (counter.get_total_flops() // period + optimizer_flops(task.model, config)) * config.steps


class Operations(FlopCounterMode):
    """Torch's counter on real tensors, which knows the kernel of `var.linear`, and keeps no account of modules.

    Its hooks for that fail where a gradient is asked for at the input of a module, as penalties of gradients do.
    """

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=kernel_flops())
        self.mod_tracker: Any = _NoModules()


class _NoModules(AbstractContextManager[None]):
    parents = frozenset(("Global",))

    def __exit__(self, *_: object) -> None:
        pass


class FusedAttention(TorchFunctionMode):
    """Counts attention, and keeps of it what fused kernels keep; for the meta device, which has no such kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0  # of the forward pass

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        q, k, v = args[:3]
        self.flops += 2 * q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        return _Attention.apply(q, k, v)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])
