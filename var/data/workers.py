"""The processes that load images: how they start, and how long they live."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from var.data.whole_numbers import as_whole
from var.errors import UserError
from var.names import received

STOPPING = frozenset(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Signals that schedulers and terminals send to a whole group of processes, to end it."""


def most_workers() -> int:
    """The largest number of processes that may load images here: more than waiting for a slow disk can use."""
    return max(64, 4 * (os.cpu_count() or 1))


def check_workers(count: object) -> int:
    """`count` as a number of worker processes; raises `UserError` for more than `most_workers`, and for no number."""
    whole = as_whole(count)
    if whole is None or not 0 <= whole <= most_workers():
        raise UserError(
            f"workers must be 0 or more, at most {most_workers()} here, got {received(count)}; 4 per GPU are usual"
        )
    return whole


def process_context() -> Any:
    """Never a fork of this process: one that runs threads (OpenMP, CUDA, progress bars) can deadlock its children."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # What takes seconds to import is imported once and not in every worker. "__main__" is Python's default.
    context.set_forkserver_preload(["__main__", "var.data.fork_server", "torch", "var.data.batches"])
    return context


@contextmanager
def held_signals() -> Iterator[None]:
    """Inside the block, stop signals wait: the helpers of Python that start in it never hear them, and so live on.

    Those are the fork server and the resource tracker; without the first, workers seem dead.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # the line above lets them through
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def live_with_parent(worker: int) -> None:
    """Let a worker live as long as the process that it works for, deaf to stop signals of others, and end with it.

    What that process still wants to finish, a step and a checkpoint, may need the worker.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    # The data loader's own watch looks at the process that forked the worker, which is the fork server; and that one
    # waits for its workers.
    def watch() -> None:
        parent.join()
        os._exit(1)

    # Python ends with a SIGTERM to its daemons, for whose end it then waits.
    def obey() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
            pass
        os._exit(1)

    for number in STOPPING - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows, where a SIGTERM ends a worker
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of this thread and of those that it starts
        threading.Thread(target=obey, daemon=True).start()
    threading.Thread(target=watch, daemon=True).start()
