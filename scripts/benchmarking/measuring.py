"""Time, memory and operators of a call."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def clock(device: str) -> float:
    """Seconds: of process time on a CPU, after all queued kernels on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def fastest(contenders: Mapping[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """Least seconds of every contender; they take turns, so that a slow minute of the machine hits all of them."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(repeats):
        for name, call in contenders.items():
            started = clock(device)
            call()
            best[name] = min(best[name], clock(device) - started)
    return best


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        # Views move no data; `_unsafe_view` is one that does not say so, and `is_set_to` compares addresses.
        self.count += not (function.is_view or function.overloadpacket.__name__ in ("_unsafe_view", "is_set_to"))
        return function(*arguments, **(keywords or {}))


def peak_memory(call: Callable[[], Any], device: str) -> float | None:
    """MiB that were held at most during a call, with all that was held before; None where that cannot be told.

    On a CPU it is the memory of the process (Linux), with what its allocator keeps of earlier calls.
    """
    _held(device)
    call()
    return _held(device, most=True)


def watch(call: Callable[[], Any], device: str) -> tuple[int, float | None]:
    """Operators of a call that compute or move data, and the MiB that it takes above what was held before.

    On a CPU it is the memory of the process (Linux), on a GPU that of its tensors; None where it cannot be told.
    """
    before = _held(device)
    with torch.no_grad(), _Counting() as counting:
        call()
    most = _held(device, most=True)
    return counting.count, None if before is None or most is None else most - before


def _held(device: str, *, most: bool = False) -> float | None:
    """MiB now; or the most since it was last asked for what is held now."""
    if device != "cpu":
        if most:
            return torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    try:
        if not most:
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:" if most else "VmRSS:")[2].split()[0]) / 2**10
