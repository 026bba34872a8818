"""The processes that make stages: forked from one that imports what all of them need, while the main one does too."""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

PRELOADED = ["torch", "var.generation", "diffusion_baseline.pipeline", "var.training"]


def start_server() -> ForkServerContext:
    """Begin the imports in the server, if they have not begun, and return at once; importing this file is cheap."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    return context
