"""Published networks that judge: their weights are found or downloaded, and their SHA-256 checked before reading."""

import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from var.errors import UserError
from var.files import atomic_file, file_digest
from var.foreign.weights import read_tensors

INSTEAD = "judge by a classifier's folder, such as the `judge` in that of a run"
"""Needs no published weights."""

_BLOCK = 1 << 20  # bytes that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """A file that the field agrees on."""

    name: str  # of the file
    url: str
    sha256: str  # of the whole file, in hexadecimal; another file is another metric


def find_weights(
    published: PublishedWeights, path: Path | str | None = None, *, progress: bool = True, instead: str = ""
) -> Path:
    """The checked file of `published`: `path`, or the copy in torch's cache of checkpoints, or a download into it.

    Raises `UserError` for a file that is missing and cannot be downloaded, or that has another SHA-256; `instead` is
    what else may be done without a download.
    """
    found = Path(path or Path(torch.hub.get_dir()) / "checkpoints" / published.name).expanduser()
    if not found.is_file():
        if path is not None:
            raise UserError(f"weights must be a file, but there is no {found}; get it from {published.url}")
        _download(published, found, progress=progress, instead=instead)
    return _checked(found, published)


class PublishedExtractor(ABC):
    """A published network that judges: frozen, in eval mode, on its own device."""

    published: ClassVar[PublishedWeights]

    def __init__(self, network: nn.Module, digest: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.digest = digest
        self._device = next(network.parameters()).device

    @staticmethod
    @abstractmethod
    def build(tensors: dict[str, Tensor]) -> nn.Module:
        """The network with the published tensors."""

    @classmethod
    def load(
        cls, weights: Path | str | None = None, *, device: torch.device | str = "cpu", progress: bool = True
    ) -> Self:
        """The published network; `weights` is its file, else torch's cache of checkpoints or a download.

        Raises `UserError` for a file that is missing or another one (by its SHA-256), and without a package that the
        network needs.
        """
        tensors = read_tensors(find_weights(cls.published, weights, progress=progress, instead=INSTEAD))
        return cls(cls.build(tensors).to(device), cls.published.sha256)


def _checked(path: Path, published: PublishedWeights) -> Path:
    try:
        found = file_digest(path)
    except OSError as error:
        raise UserError(f"{path} must be readable, but: {error.strerror}; mend its permissions") from error
    if found != published.sha256:
        raise UserError(
            f"{path} must be {published.name} with SHA-256 {published.sha256[:12]}..., got {found[:12]}...; "
            f"get it again from {published.url}"
        )
    return path


def _download(published: PublishedWeights, target: Path, *, progress: bool, instead: str) -> None:
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
    except (OSError, HTTPException) as error:
        raise UserError(
            f"{published.name} is not in {target.parent} and cannot be downloaded from {published.url} ({error}); "
            f"download it elsewhere and give its path{instead and f', or {instead}'}"
        ) from error
