"""What moves in the forward pass, without an optimiser: running statistics, an EMA codebook."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from var.training.distributed import Processes
from var.training.sharding import local


@runtime_checkable
class MovesItself(Protocol):
    """A module whose forward pass also moves parameters that are trained, or what it remembers beside tensors."""

    @property
    def moved_in_forward(self) -> Sequence[str]:
        """Names of such parameters of its own."""
        ...

    def step_undone(self) -> None:
        """Hear that all tensors are again what they were before a step; what it remembers must follow from them."""


class SharedBuffers:
    """Buffers and frozen parameters of `networks`: a step begins with those of the main process, or is undone.

    The parameters of `MovesItself` are put back too.
    """

    def __init__(self, networks: Sequence[nn.Module], processes: Processes) -> None:
        self._networks, self._processes = networks, processes
        self._kept: dict[tuple[int, str], tuple[int, Tensor]] = {}
        self._movers = [
            (number, f"{name}." if name else "", module)
            for number, network in enumerate(networks)
            for name, module in network.named_modules()
            if isinstance(module, MovesItself)
        ]

    @torch.no_grad()
    def begin_step(self) -> None:
        """Take over the state of the main process, and remember it."""
        tensors = self._tensors()
        moving = [self._may_have_moved(key, tensor) for key, tensor in tensors.items()]
        if self._processes.count > 1 and tensors:
            moving = self._processes.any(*moving)
        moved = {key: tensor for (key, tensor), moves in zip(tensors.items(), moving, strict=True) if moves}
        if self._processes.count > 1:
            _broadcast([each.detach() for each in moved.values() if local(each) is each and not each.requires_grad])
        for key, tensor in moved.items():
            copy = self._kept[key][1] if key in self._kept else torch.empty_like(local(tensor))
            self._kept[key] = (tensor._version, copy.copy_(local(tensor)))

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what `begin_step` remembered."""
        for key, tensor in self._tensors().items():
            if key in self._kept:  # all but an opponent, which is frozen for the length of the model's loss only
                local(tensor).copy_(self._kept[key][1])
        for _, _, module in self._movers:
            module.step_undone()

    def _may_have_moved(self, key: tuple[int, str], tensor: Tensor) -> bool:
        # A tensor counts its changes, which spares frozen networks the copy; batch norm changes its buffers uncounted,
        # and so do optimisers the weights.
        counted = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        return not counted or key not in self._kept or self._kept[key][0] != tensor._version

    def _tensors(self) -> dict[tuple[int, str], Tensor]:
        found: dict[tuple[int, str], Tensor] = {}
        for number, network in enumerate(self._networks):
            found |= {(number, name): buffer for name, buffer in network.named_buffers()}
            frozen = ((name, value) for name, value in network.named_parameters() if not value.requires_grad)
            found |= {(number, name): parameter for name, parameter in frozen}
        for number, prefix, module in self._movers:
            found |= {(number, f"{prefix}{name}"): getattr(module, name) for name in module.moved_in_forward}
        return found


@torch.no_grad()
def _broadcast(tensors: list[Tensor]) -> None:
    """Give every process the values of the main one, in one message per type."""
    for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        message = torch.cat([tensor.reshape(-1) for tensor in alike])
        dist.broadcast(message, src=0)
        if dist.get_rank() == 0:
            continue
        for tensor, part in zip(alike, message.split([tensor.numel() for tensor in alike]), strict=True):
            tensor.copy_(part.view_as(tensor))
