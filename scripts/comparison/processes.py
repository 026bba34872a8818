"""The processes that make stages: forked from one that imports what all of them need, while the main one does too."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What tells a process that it is one of several."""

PRELOADED = ["torch", "comparison.families", "var.training"]


GRACE = 60
"""Seconds in which a training may save where it stands."""


def start_server() -> ForkServerContext:
    """Begin the imports in the server, if they have not begun, and return at once; importing this file is cheap."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the server, which else ends its imports in a traceback
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    return context


def end_with_parent() -> None:
    """Let this process end soon after the one that it works for, however that ended; a training is saved before."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def launched() -> bool:
    """Whether a launcher, such as torchrun, started this as one of its processes."""
    return "RANK" in os.environ


def is_main() -> bool:
    """Whether this is the process that prints and writes what there is one of."""
    return os.environ.get("RANK", "0") == "0"


def part_from_launcher(device: str) -> None:
    """Let this process, which was started by one of a launcher's, work alone, on the same GPU."""
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if launched() and device == "cuda":
        import torch

        torch.cuda.set_device(place)
    for name in LAUNCHER:
        os.environ.pop(name, None)
