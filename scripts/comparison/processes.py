"""The processes that make stages: forked from one that imports what all of them need, while the main one does too."""

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from var.errors import UserError

PRELOADED = ["torch", "comparison.families", "var.training"]


def start_server() -> ForkServerContext:
    """Begin the imports in the server, if they have not begun, and return at once; importing this file is cheap."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    return context


def check_alone() -> None:
    """Raise `UserError` where a launcher started this as one of its processes."""
    if "RANK" in os.environ or "LOCAL_RANK" in os.environ:
        raise UserError(
            "a comparison starts its own processes, and is started once, got a launcher's RANK="
            f"{os.environ.get('RANK', os.environ.get('LOCAL_RANK'))}; use python scripts/compare.py, or train the "
            "models with the launcher and compare them with --runs"
        )
