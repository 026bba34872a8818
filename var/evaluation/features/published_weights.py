"""Published weights of judging networks: found or downloaded, their SHA-256 checked before they are read."""

import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from var.errors import UserError
from var.files import atomic_file, file_digest

_BLOCK = 1 << 20  # bytes that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """A file that the field agrees on."""

    name: str  # of the file
    url: str
    sha256: str  # of the whole file, in hexadecimal; another file is another metric


def find_weights(published: PublishedWeights, path: Path | str | None = None, *, progress: bool = True) -> Path:
    """The checked file of `published`: `path`, or the copy in torch's cache of checkpoints, or a download into it.

    Raises:
        UserError: no such file, no way to download it, or another SHA-256 than that of the published file.
    """
    if path is not None:
        found = Path(path).expanduser()
        if not found.is_file():
            raise UserError(f"weights must be a file, but there is no {found}; get it from {published.url}")
        return _checked(found, published)
    found = Path(torch.hub.get_dir()) / "checkpoints" / published.name
    if not found.is_file():
        _download(published, found, progress=progress)
    return _checked(found, published)


def _checked(path: Path, published: PublishedWeights) -> Path:
    found = file_digest(path)
    if found != published.sha256:
        raise UserError(
            f"{path} must be {published.name} with SHA-256 {published.sha256[:12]}..., got {found[:12]}...; "
            f"get it again from {published.url}"
        )
    return path


def _download(published: PublishedWeights, target: Path, *, progress: bool) -> None:
    from tqdm.auto import tqdm

    try:
        with urllib.request.urlopen(published.url, timeout=60) as answer, atomic_file(target) as temporary:
            size = int(answer.headers.get("Content-Length", 0)) or None
            bar = tqdm(total=size, unit="B", unit_scale=True, desc=published.name, disable=not progress)
            with bar, temporary.open("wb") as file:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
            # A broken download must not take the name under which later runs look.
            _checked(temporary, published)
    except (OSError, urllib.error.URLError) as error:
        raise UserError(
            f"{published.name} is not in {target.parent} and cannot be downloaded from {published.url} ({error}); "
            "download it elsewhere and give its path"
        ) from error
