"""From the name that a user types to a set of images."""

import os
from pathlib import Path
from typing import Any

from var.data.bad_images import SkipBadImages
from var.data.base import ImageData
from var.data.folder import FolderData
from var.data.huggingface import open_huggingface
from var.data.listing import entry_kind, unreadable_folder
from var.data.named import NAMED, is_named, open_named
from var.data.tar import BRACES, TarData, expand_shards
from var.errors import UserError, suggestion

HUB = "hf:"
SPLITS = ("train", "val", "test", "all")
HELD_OUT = {"train": ("train",), "test": ("test", "val", "validation"), "val": ("val", "validation", "test")}
"""The folders that a split may lie in, the first that is there."""
ON_BAD_IMAGE = ("error", "skip")


def open_data(
    spec: str,
    *,
    split: str = "train",
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    on_bad_image: str = "error",
    index: Path | None = None,
    progress: bool = False,
    **options: Any,
) -> ImageData:
    """The images called `spec`, of the `split` "train", "val", "test" or "all".

    `spec` is one of `NAMED`, such as "digits" (a folder of that name is "./digits"), with options after it where there
    are any, as in "emoji?styles=openmoji,noto&labels=subcategory"; a folder of class folders or of images; a folder of
    tar files, one tar file, or many in braces ("data/{000..127}.tar"); or "hf:" and a data set of the library
    `datasets`, on disk or on the Hub. A folder whose only sub-folders are "train" and any of "test", "val" and
    "validation" is split by them, and its classes are those of "train"; of any other folder, and of shards, "train" and
    "all" give the whole.

    Args:
        spec: the name.
        split: the part; "val" and "test" stand for each other where there is only one of them.
        size: side length, or (height, width); may be left out for named data.
        channels: 1 or 3; 3 unless given, but for named data.
        on_bad_image: "error", or "skip" to put another image in the place of one that is broken (`SkipBadImages`).
        index: a file that keeps what a large folder or many shards hold, for the next time.
        progress: show a bar while folders and shards are listed.
        options: those of named data, such as `labels="subcategory"`, if they are not in `spec`.

    Raises `UserError` for an unknown name, a split that is not there, and a size, number of channels or option that the
    data do not have.
    """
    for name, value, known in (("split", split, SPLITS), ("on_bad_image", on_bad_image, ON_BAD_IMAGE)):
        if value not in known:
            raise UserError(f"unknown {name} {value!r}; {suggestion(value, known)}")
    if isinstance(size, int):
        size = size, size
    if is_named(spec):
        return open_named(spec, split, size, channels, options)
    _check_exists(spec)
    if options:
        raise UserError(f"only data with a name take the option {next(iter(options))!r}, got {spec!r}; leave it out")
    if size is None:
        raise UserError(f"images of a folder need a size, got none for {spec!r}; give the side length in pixels")
    shape = {"size": size, "channels": 3 if channels is None else channels}
    skip = on_bad_image == "skip"
    if spec.startswith(HUB):
        data = open_huggingface(spec.removeprefix(HUB), split=split, **shape)
    else:
        root, classes, shards = _locate(spec, split)
        listing = {"index": index, "progress": progress}
        if shards:
            data = TarData(shards, **shape, **listing)
        else:
            data = FolderData(root, classes=classes, keep_broken_links=skip, **shape, **listing)
    return SkipBadImages(data) if skip else data


def _check_exists(spec: str) -> None:
    root = Path(spec).expanduser()
    if spec.startswith(HUB) or BRACES.search(spec) or root.is_dir() or (root.is_file() and root.suffix == ".tar"):
        return
    reason = "it is a file" if root.exists() else "there is no such folder"
    raise UserError(
        f"data must be a folder, tar files or one of the known names, got {spec!r}, but {reason}; "
        f"{suggestion(spec.partition('?')[0], NAMED)}"
    )


def _locate(spec: str, split: str) -> tuple[Path, tuple[str, ...] | None, list[Path]]:
    """The folder of a split, the classes that all splits share if they are set elsewhere, and the shards if any."""
    root = Path(spec).expanduser()
    if not root.is_dir():
        if split not in ("train", "all"):
            raise UserError(f"{spec} has no split {split!r}; name the shards of that split")
        return root, None, expand_shards(spec)
    names = _folders(root)
    if not names or not names <= {"train", "test", "val", "validation"}:
        if split in ("test", "val"):
            raise UserError(
                f"{root} must have folders 'train' and 'test' to be split, got none; make them or use 'train'"
            )
        return root, None, _shards(root)
    chosen = next((name for name in HELD_OUT.get(split, ()) if name in names), None)
    if chosen is None:
        raise UserError(f"{root} has no split {split!r}; {suggestion(split, names)}")
    classes = tuple(sorted(_folders(root / "train"))) if "train" in names and chosen != "train" else None
    return root / chosen, classes or None, _shards(root / chosen)


def _folders(root: Path) -> set[str]:
    try:
        with os.scandir(root) as entries:
            return {e.name for e in entries if not e.name.startswith(".") and entry_kind(e) == "folder"}
    except OSError as error:
        raise unreadable_folder(root, error) from error


def _shards(root: Path) -> list[Path]:
    """The tar files in `root`, sorted, if it holds no folders."""
    if _folders(root):
        return []
    return sorted(path for path in root.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
