"""Standard output and standard error that never end work: what cannot be shown is passed over, and said at the end."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from var.names import escaped

_MOVE_UP = "\x1b[A"  # what progress bars draw with, besides the return


class TolerantStream:
    """A text stream that goes on after a failure, without showing more, and shows nothing that a terminal obeys.

    Attributes:
        failure: why nothing is shown any more.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Show `text`; characters that the stream does not know, or that are not seen as themselves, as their codes."""
        if self.failure is None:
            shown = _MOVE_UP.join(escaped(part, keep="\n\r\t") for part in text.split(_MOVE_UP))
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            try:
                self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
            except (OSError, ValueError) as error:
                self.failure = error
        return len(text)

    def flush(self) -> None:
        """Bring what was shown to whoever reads it."""
        if self.failure is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self.failure = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def tolerant_streams() -> Iterator[tuple[TolerantStream, TolerantStream]]:
    """Let standard output and standard error be tolerant inside the block; streams that were closed lead nowhere."""
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    nowhere = [open(os.devnull, "w", encoding="utf-8") for stream in before if stream is None]  # noqa: SIM115
    spare = iter(nowhere)
    out, err = (TolerantStream(next(spare) if stream is None else stream) for stream in before)
    sys.stdout, sys.stderr = out, err  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
        for stream in (out, err):
            if stream.failure is not None:
                _lead_nowhere(stream)
        for stream in nowhere:
            stream.close()


def _open_closed_descriptors() -> None:
    """Fill the places of closed standard streams: the next file that is opened would get the number, and the output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _lead_nowhere(stream: TolerantStream) -> None:
    # What is still in the buffer would fail again when Python closes the stream.
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    except (OSError, ValueError, io.UnsupportedOperation):
        pass
