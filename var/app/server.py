"""The server of the page: on loopback unless told otherwise, with a folder of its own, until it is told to end."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from var.app.models import Models
from var.errors import UserError, first_line


def serve(models: Models, *, host: str, port: int, browser: bool) -> None:
    """Show the page at `host` and `port` until SIGINT or SIGTERM; raises `UserError` for a port that is taken.

    What visitors upload and what is drawn lies in a temporary folder, which is removed in the end.
    """
    with (
        tempfile.TemporaryDirectory(prefix="next-scale-app-", ignore_cleanup_errors=True) as folder,
        _until_told(models),
    ):
        os.environ["GRADIO_TEMP_DIR"] = folder  # before components are made, which remember it
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        # gradio asks matplotlib, where it is, for its backend at every click: to find one takes a second and writes
        # into the home folder.
        os.environ.setdefault("MPLBACKEND", "agg")
        os.environ.setdefault("MPLCONFIGDIR", folder)
        from var.app.page import look, page

        blocks = page(models)
        try:
            _, address, _ = blocks.launch(
                server_name=host, server_port=port, inbrowser=browser, prevent_thread_lock=True, **look()
            )
        except OSError as error:
            raise UserError(
                f"the page needs a free port, got {port} on {host}, but: {first_line(error)}; choose another --port"
            ) from error
        print(f"The page is at {address} until Ctrl-C.", flush=True)
        models.closing.wait()
        with suppress(Exception):
            blocks.close(verbose=False)


@contextmanager
def _until_told(models: Models) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM set the models' `closing`; where this is no main thread, nobody is told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, lambda *_: models.closing.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
