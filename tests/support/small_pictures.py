"""Small pictures and shards of them, for tests of what a data set takes and leaves out."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path, level=7, side=6):
    """Write a picture of one colour; returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), level, np.uint8)).save(path)
    return path


def png(level=7):
    """The bytes of such a picture."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 6, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path, members, **options):
    """Write a tar file of (name, content) pairs; returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members:
            content = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
