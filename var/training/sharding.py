"""Weights spread over processes (FSDP2) and whole again; for weights that every process holds, nothing changes."""

import copy

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(network: nn.Module, device: torch.device, processes: int) -> nn.Module:
    """A copy of `network` whose parameters are spread over `processes`, each of which holds its share on `device`.

    The members of every `nn.ModuleList` (the blocks) are gathered for their own computation only, the rest together:
    for `forward` and, where a block computes in others too, for the methods that its `forward_methods` names.
    """
    sharded = copy.deepcopy(network)
    for tensor in (*sharded.parameters(), *sharded.buffers()):
        # The weights that were drawn on the main process count, as with DDP.
        message = tensor.detach().to(device)
        dist.broadcast(message, src=0)
        tensor.detach().copy_(message)
    for parameter in sharded.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP takes no weights that lie channels last
    mesh = init_device_mesh(device.type, (processes,))
    blocks = [block for part in sharded.modules() if isinstance(part, nn.ModuleList) for block in part]
    for block in reversed(blocks):  # inner lists come after the lists that hold them
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh)
            for name in getattr(block, "forward_methods", ()):
                register_fsdp_forward_method(block, name)
    fully_shard(sharded, mesh=mesh)
    # Frozen networks and buffers are no part of the shards.
    for buffer in sharded.buffers():
        buffer.data = buffer.data.to(device)
    return sharded


def local(tensor: Tensor) -> Tensor:
    """What this process holds of `tensor`, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of `tensor`; if it is spread, every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def held_of(target: Tensor, value: Tensor) -> Tensor:
    """What this process holds of a `value` that is whole, spread as `target` is; the main process' value counts."""
    if isinstance(target, DTensor):
        return distribute_tensor(value.to(target.device), target.device_mesh, target.placements).to_local()
    return value


@torch.no_grad()
def write(target: Tensor, value: Tensor) -> None:
    """Copy `value`, which is whole, into `target`, as far as this process holds it."""
    local(target).copy_(held_of(target, value))
