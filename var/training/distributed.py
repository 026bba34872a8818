"""The processes of a run: how many there are, what they agree on, and what the main one does for all."""

import inspect
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from var.devices import check_device
from var.errors import ToldError, UserError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

_START = "start them with python -m torch.distributed.run --standalone --nproc_per_node N"
# The others wait in a collective while the main process saves or evaluates; a process that died is not waited for.
_PATIENCE = timedelta(days=7)


class Processes:
    """The processes that train together, as accelerate found them.

    `device` is "cpu", "cuda", ... or None for accelerate's choice, which is the CPU where no accelerator can be used.
    Raises `UserError` if another device is in use, or if the launcher asked for more processes than there are, or for
    more of them than GPUs.
    """

    def __init__(self, device: str | None = None) -> None:
        _check_environment()
        # Accelerate starts no group of processes on the CPU unless it is told that it shall be the CPU.
        cpu = device == "cpu" or (device is None and not _accelerator_works())
        self.accelerator = accelerator = Accelerator(cpu=cpu, kwargs_handlers=[_group(cpu)])
        self.device: torch.device = accelerator.device
        self.count = accelerator.num_processes
        self.rank = accelerator.process_index  # from 0
        self.is_main = self.rank == 0  # this process writes, evaluates and speaks for all
        # Accelerate keeps the first device that a process asked for.
        kind, _, index = (self.device.type if device is None else device).partition(":")
        if self.device.type != kind or (index and index != str(self.device.index or 0)):
            raise UserError(
                f"a training run uses the device that accelerate manages, here {str(self.device)!r}, "
                f"got {device!r}; leave the device out (CUDA_VISIBLE_DEVICES says which GPUs there are), "
                "or start a new process for the other one"
            )
        asked = int(os.environ.get("WORLD_SIZE", "1"))
        if asked != self.count:
            raise UserError(f"the launcher asked for {asked} process(es), got {self.count}; {_START}")

    def replicate(self, network: nn.Module, *, find_unused_parameters: bool = False) -> nn.Module:
        """`network` on the device, under DDP if there are several processes."""
        network.to(self.device)
        if self.count == 1:
            return network
        # Buffers are no matter of DDP, whose broadcast before every forward pass would break two passes in a step.
        new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        options: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
        return DistributedDataParallel(
            network,
            device_ids=None if self.device.type == "cpu" else [self.device],
            find_unused_parameters=find_unused_parameters,
            **options,
        )

    def leave(self) -> None:
        """Part from the others after the last exchange: the threads of a group can abort a Python that ends with it."""
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def any(self, *facts: Tensor | bool) -> tuple[bool, ...]:
        """For each of `facts`, whether it holds on any process: one exchange for all of them."""
        if self.count == 1:
            return tuple(bool(fact) for fact in facts)
        votes = torch.stack([torch.as_tensor(fact, device=self.device).float() for fact in facts])
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return tuple(vote > 0 for vote in votes.tolist())

    def gather(self, value: Value) -> list[Value]:
        """The `value` of every process, in the order of their numbers; on every process."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_all(self, work: Callable[[], Value]) -> list[Value]:
        """What `work` returns on every process, in their order; what it raises on the first that fails all raise."""
        outcome: tuple[Any, ...] = ()
        caught: Exception | None = None
        try:
            outcome = work(), None
        except Exception as error:  # raised again below, after the others were told
            caught, outcome = error, (None, (isinstance(error, UserError), str(error)))
        told = self.gather(outcome)
        for rank, (_, failure) in enumerate(told):
            if caught is not None and rank == self.rank:
                raise caught
            if failure is not None:
                expected, message = failure
                raise ToldError(message) if expected else RuntimeError(f"process {rank} failed: {message}")
        return [value for value, _ in told]

    def from_main(self, work: Callable[[], Value]) -> Value:
        """What `work` returns on the main process, which alone does it; its `UserError` is raised on every process."""
        if self.count == 1:
            return work()
        outcome: list[Any] = [None, None]
        caught: Exception | None = None
        if self.is_main:
            try:
                outcome = [work(), None]
            except Exception as error:  # raised again below, after the others were told
                caught = error
                outcome = [None, (isinstance(error, UserError), str(error))]
        dist.broadcast_object_list(outcome)
        if caught is not None:
            raise caught
        value, failure = outcome
        if failure is not None:
            expected, message = failure
            raise ToldError(message) if expected else RuntimeError(f"the main process failed: {message}")
        return value


def _group(cpu: bool) -> InitProcessGroupKwargs:
    """How processes meet, if there are several: on GPUs, objects go through the CPU.

    Whoever waits for one sleeps there, where nccl would keep a core and the GPU busy.
    """
    several = "LOCAL_RANK" in os.environ and not cpu and torch.cuda.is_available()
    return InitProcessGroupKwargs(timeout=_PATIENCE, **({"backend": "cpu:gloo,cuda:nccl"} if several else {}))


def _accelerator_works() -> bool:
    """Whether there is a GPU or the like for this process: one that is there may still be unusable."""
    if not torch.accelerator.is_available():
        return False
    kind = "cuda" if torch.cuda.is_available() else str(torch.accelerator.current_accelerator())
    local, here = (int(os.environ.get(name, default)) for name, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    try:
        check_device(f"{kind}:{local % max(torch.accelerator.device_count(), 1)}")
    except UserError as error:
        logger.warning("%s; this run trains on the CPU", error)
        return False
    if here > torch.accelerator.device_count():
        raise UserError(
            f"every process needs a GPU of its own, got {here} processes for {torch.accelerator.device_count()} here; "
            "start fewer, or train on the CPU with --device cpu"
        )
    return True


def _check_environment() -> None:
    """Refuse what would train in one process where several were asked for."""
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK"):
        if not (text := os.environ.get(name, "0")).isdecimal():
            raise UserError(f"the environment's {name} must be a whole number, got {text!r}; {_START}")
    needed = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if name not in os.environ]
    asked = os.environ.get("WORLD_SIZE", "1")
    if asked != "1" and missing:
        lacking = ", ".join(missing)
        raise UserError(f"WORLD_SIZE={asked} asks for several processes, but lacks {lacking} beside it; {_START}")
    # `accelerate launch --cpu --num_processes 2` names a port where processes would meet, and then starts one.
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    if launched and "WORLD_SIZE" not in os.environ:
        raise UserError(
            f"accelerate launch was asked for several processes on the CPU, but starts one, got this one; {_START}"
        )
