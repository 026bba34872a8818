"""Processes that take images from workers, for the tests of how those end; warnings are errors in them."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

from var.data import HorizontalFlip, batches, shapes


def _strict():
    sys.warnoptions.append("error")  # which the processes that this one starts inherit
    warnings.simplefilter("error")


def _stream():
    return batches(shapes(size=8), 16, seed=0, augment=HorizontalFlip(), workers=2)


def consumer(report):
    """Close one stream; send the workers of another the signals that end others, go on, and forget them."""
    os.setpgid(0, 0)
    _strict()
    stream = _stream()
    next(stream)
    del stream
    assert multiprocessing.active_children() == []
    stream = _stream()
    for _ in range(2):  # one batch of each worker: both have started
        next(stream)
    workers = [process.pid for process in multiprocessing.active_children()]
    for name in ("-TERM", "-USR1", "-INT"):
        subprocess.run(["kill", name, *map(str, workers)], check=True)
    for _ in range(10):
        next(stream)
    # What others start in the same way can still be ended.
    other = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(600,))
    other.start()
    other.terminate()
    other.join()
    assert other.exitcode == -signal.SIGTERM
    Path(report).write_text(json.dumps(workers))
    multiprocessing.util._exit_function()  # as Python does at its end
