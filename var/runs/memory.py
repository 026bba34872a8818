"""The memory that a training needs whatever its batch, and the memory that there is."""

import os
from contextlib import suppress

import torch

from var.errors import UserError
from var.foreign.regular import read_text
from var.quantities import size
from var.training import Task, TrainingConfig
from var.training.distributed import Processes

SHARE = 0.8
"""Of a device's memory, what a plan may fill: gradients of activations and workspaces of kernels are not in it."""


def lasting_memory(trained: int, frozen: int, config: TrainingConfig, processes: int = 1) -> dict[str, int]:
    """Bytes that last from step to step, by what they hold, for so many parameters that are trained and frozen."""
    whole = 4 * trained // (processes if config.sharding == "fsdp" else 1)
    parts = {
        "weights": whole + 4 * frozen,
        "gradients": whole,
        "optimiser": (1 if config.optimizer == "muon" else 2) * whole,  # few weights are no matrices
        "averaged weights": whole if config.ema_decay else 0,
        "16-bit copies": whole // 2 if config.mixed_precision == "bf16" else 0,
    }
    return {name: number for name, number in parts.items() if number}


def check_memory(task: Task, config: TrainingConfig, processes: Processes) -> None:
    """Raise `UserError`, before the first step and not in the middle of it, for what cannot fit into memory."""
    trained = sum(weight.numel() for weight in task.model.parameters() if weight.requires_grad)
    needed = sum(lasting_memory(trained, 0, config, processes.count).values())
    there = memory_of(processes.device)
    if there is not None and needed > there:
        raise UserError(
            f"weights, gradients and moments must fit into memory, but {trained:,} parameters need {size(needed)} of "
            f"{size(there)}; take a smaller model, or spread it over several processes by training.sharding=fsdp"
        )


def memory_of(device: torch.device) -> int | None:
    """Bytes of all memory of a device, swap space included, free or not; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu" or not hasattr(os, "sysconf"):
        return None
    limits = []
    with suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _swap())
    with suppress(UserError, ValueError):  # that of a container
        limits.append(int(read_text("/sys/fs/cgroup/memory.max")))
    return min(limits, default=None)


def room_of(device: torch.device) -> int | None:
    """Bytes that a plan may fill in each process of this machine; None where they cannot be told."""
    there = memory_of(device)
    if there is None or device.type != "cpu":
        return None if there is None else int(SHARE * there)
    there = min(there, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))  # a step that swaps never ends
    return int(SHARE * there) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _swap() -> int:
    with suppress(UserError, ValueError, IndexError):
        return 1024 * int(read_text("/proc/meminfo").partition("SwapTotal:")[2].split()[0])
    return 0
