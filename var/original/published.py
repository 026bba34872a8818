"""The checkpoints that the authors published: which files there are, and their conversions beside the download."""

import hashlib
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack

import torch

from var.errors import UserError, chosen
from var.files import atomic_folder, remove_folder, sweep
from var.hub.layout import PIPELINE_INDEX
from var.hub.placement import check_placement
from var.hub.remote import Source, existing_path, find_file

REPOSITORY = "FoundationVision/var"
TOKENIZER = "vae_ch160v4096z32.pth"
TRANSFORMERS = {
    "d16": "var_d16.pth",  # 256 px
    "d20": "var_d20.pth",
    "d24": "var_d24.pth",
    "d30": "var_d30.pth",
    "d36": "var_d36.pth",  # 512 px
}

LAYOUT = 1
"""Raised when a conversion would come out differently, so that old ones are not read any more."""


def refuse_without_variant(path_or_id: Path | str) -> None:
    """Raise `UserError` if this is the authors' repository, or a folder of their files: a model must be chosen."""
    path = existing_path(path_or_id)
    official = path is None and str(path_or_id).casefold() == REPOSITORY.casefold()
    if official or (path is not None and (path / TOKENIZER).is_file() and not (path / PIPELINE_INDEX).exists()):
        variants = ", ".join(TRANSFORMERS)
        raise UserError(f"{path_or_id} holds several official models, got no variant; pass variant=, one of {variants}")


def load(
    cls: type[Any],
    path_or_id: Path | str,
    variant: str,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    **source: Unpack[Source],
) -> Any:
    """The pipeline of class `cls` of a published model, converted at its first use; see `VARPipeline.from_pretrained`.

    What is converted from a download stays beside it in the cache of the Hub, under the identity of both files; a
    conversion that cannot be read (any more) is made again. A local folder is left as it is.
    """
    transformer = chosen(variant, TRANSFORMERS, "variant")
    check_placement(device)
    local = existing_path(path_or_id) is not None
    files = [find_file(path_or_id, name, **source) for name in (TOKENIZER, transformer)]
    progress = source.get("progress", True)
    if local:
        return cls.from_original(*files, progress=progress).to(device=device, dtype=dtype)
    folder = _converted_folder(files, variant)
    if (found := _kept(cls, folder, dtype, device)) is not None:
        return found
    pipeline = cls.from_original(*files, progress=progress)
    try:
        with atomic_folder(folder, replace=False) as temporary:
            pipeline.save_pretrained(temporary)
    except UserError as error:
        warnings.warn(f"the conversion is not kept: {error}", stacklevel=3)
    return pipeline.to(device=device, dtype=dtype)


def _kept(cls: type[Any], folder: Path, dtype: torch.dtype | None, device: torch.device | str | None) -> Any | None:
    """The conversion in `folder`, None if there is none that can be read; the rest of killed ones is removed."""
    with suppress(OSError):  # no conversion yet, or a cache that belongs to somebody else
        sweep(folder.parent)
    if not folder.is_dir():
        return None
    try:
        return cls.from_pretrained(folder, dtype=dtype, device=device)
    except (UserError, FileNotFoundError):  # damaged, or another process has just found it so
        with suppress(OSError):
            remove_folder(folder)
    return None


def _converted_folder(files: Sequence[Path], variant: str) -> Path:
    """The place of a conversion: in the repository's folder in the cache, named by what the Hub calls the contents."""
    # .../models--owner--name/snapshots/COMMIT/FILE, which is a link to ../../blobs/ETAG where there are links.
    identities = [file.resolve().name if file.is_symlink() else f"{file.parent.name}/{file.name}" for file in files]
    digest = hashlib.sha256("\n".join(identities).encode()).hexdigest()[:16]
    repository = next(above.parent for above in files[1].parents if above.name == "snapshots")
    return repository / "next-scale" / f"{variant}-{LAYOUT}-{digest}"
