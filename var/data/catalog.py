"""From the name that a user types to a set of images."""

from pathlib import Path
from typing import Any, SupportsIndex

from var.data.bad_images import SkipBadImages
from var.data.base import ImageData
from var.data.folder import FolderData
from var.data.huggingface import HUB, open_huggingface, places_of_huggingface
from var.data.image_size import Size, image_size
from var.data.named import NAMED, is_named, open_named
from var.data.shard_names import expand_shards, is_pattern
from var.data.splits import COMPRESSED, SPLITS, MissingSplitError, Part, locate_split
from var.data.tar import TarData
from var.data.whole_numbers import as_whole
from var.errors import UserError, suggestion
from var.names import received
from var.paths import REGULAR, expanded, kind_of_file

ON_BAD_IMAGE = ("error", "skip")


def open_data(
    spec: str | Path,
    *,
    split: str = "train",
    size: Size | None = None,
    channels: SupportsIndex | None = None,
    on_bad_image: str = "error",
    captions: bool = False,
    index: Path | None = None,
    progress: bool = False,
    **options: Any,
) -> ImageData:
    """The images called `spec`, of the `split` "train", "val", "test" or "all".

    `spec` is one of `NAMED`, such as "digits" (a folder of that name is "./digits", or a `Path`), with options after it
    where there are any ("emoji?styles=openmoji,noto"); a folder of class folders or of images; a folder of tar files,
    one tar file, or many in braces or by stars ("data/{000..127}.tar", "data/*.tar"); or "hf:" and a data set of the
    library `datasets`, on disk or on the Hub, with the names of its columns if they are others
    ("hf:NAME?image=img&label=fine_label"). A folder whose only sub-folders are "train" and any of "test" and "val" (or
    "training", "testing", "validation", "eval", "holdout" and the like) is split by them, and its classes are those of
    "train"; of any other folder, and of shards, "train" and "all" give the whole.

    The `captions` are texts beside the images of a folder, or lines of a `metadata.jsonl` in it, in a class folder or
    beside "train" (`FolderData`); members "txt" of shards, or fields of their "json" (`TarData`); the column of "hf:"
    that is named ("?caption=text"). What is wrong with a caption makes its image a bad one.

    Args:
        spec: the name.
        split: the part; "val" and "test" stand for each other where there is only one of them.
        size: side length, or (height, width); may be left out for named data.
        channels: 1 or 3; 3 unless given, but for named data.
        on_bad_image: "error", or "skip" to put another image in the place of one that is broken (`SkipBadImages`).
        captions: read the texts of folders and shards, so that whatever is wrong with one makes its image a bad one.
        index: a file that keeps what a large folder or many shards hold, for the next time.
        progress: show a bar while folders and shards are listed.
        options: those of named data, such as `labels="subcategory"`, if they are not in `spec`.

    Raises `UserError` for an unknown name, and for a size, number of channels or option that the data do not have;
    `MissingSplitError`, which is one too, for a split that is not there.
    """
    for name, value, known in (("split", split, SPLITS), ("on_bad_image", on_bad_image, ON_BAD_IMAGE)):
        if value not in known:
            raise UserError(f"unknown {name} {received(value)}; {suggestion(value, known)}")
    name = _as_text(spec)
    sides = None if size is None else image_size(size)
    if channels is not None and (channels := as_whole(given := channels)) is None:
        raise UserError(f"channels must be a whole number, got {received(given)}; 1 is grey, 3 is colour")
    if is_named(name):
        return open_named(name, split, sides, channels, options)
    if options:
        raise UserError(f"only data with a name take the option {next(iter(options))!r}, got {name!r}; leave it out")
    is_hub = name.startswith(HUB)
    kind = None if is_hub else _kind(name)
    if sides is None:
        raise UserError(f"images of a folder need a size, got none for {name!r}; give the side length in pixels")
    shape = {"size": sides, "channels": 3 if channels is None else channels}
    skip = on_bad_image == "skip"
    if is_hub:
        data = open_huggingface(name.removeprefix(HUB), split=split, **shape)
    else:
        part = _part(name, kind, split, skip)
        listing = {"index": index, "progress": progress}
        if part.shards:
            data = TarData(part.shards, captions=captions, **shape, **listing)
        else:
            own = {"classes": part.classes, "keep_broken_links": skip, "captions": captions, "metadata": part.metadata}
            data = FolderData(part.root, **own, **shape, **listing)
    return SkipBadImages(data) if skip else data


def places_of(spec: str | Path) -> tuple[Path, ...]:
    """The folders and files that data called `spec` are read from, whatever the split; none for named data."""
    name = _as_text(spec)
    if is_named(name):
        return ()
    if name.startswith(HUB):
        return places_of_huggingface(name.removeprefix(HUB))
    return (expanded(name),) if _kind(name) != _PATTERN else tuple(expand_shards(name))


_PATTERN = "a pattern"


def _as_text(spec: Any) -> str:
    if isinstance(spec, Path):
        # A path is a place, whatever data are called by the same name.
        return f"./{spec}" if str(spec) in NAMED else str(spec)
    if not isinstance(spec, str) or not spec.strip() or "\0" in spec:
        raise UserError(
            f"data must be named by a text or a path, got {received(spec)}; {suggestion('', NAMED)} or a folder"
        )
    return spec


def _kind(name: str) -> str:
    """What lies at the place `name`: a folder, a tar file, or several files; raises `UserError` for anything else."""
    root = expanded(name)
    try:
        kind = kind_of_file(root)
    except OSError as error:
        raise UserError(f"data must be readable, got {name!r}, but: {error.strerror}; check the path") from error
    is_option = "=" in name.partition("?")[2]  # of a name that is spelled wrongly
    if kind is None and is_pattern(name) and not is_option:
        return _PATTERN
    if kind == "a folder" or (kind == REGULAR and root.name.lower().endswith(".tar")):
        return kind
    reason = f"it is {'a file' if kind == REGULAR else kind}" if kind else "there is no such folder"
    remedy = suggestion(name.partition("?")[0], NAMED)
    if kind == REGULAR and root.name.lower().endswith(COMPRESSED):
        reason, remedy = "it is compressed", "unpack it to a .tar"
    raise UserError(f"data must be a folder, tar files or one of the known names, got {name!r}, but {reason}; {remedy}")


def _part(name: str, kind: str | None, split: str, skip: bool) -> Part:
    """Where the images of a split lie."""
    root = expanded(name)
    if kind == "a folder":
        return locate_split(root, split, keep_broken_links=skip)
    if split not in ("train", "all"):
        raise MissingSplitError(f"{name} has no split {split!r}; name the shards of that split")
    return Part(root, None, tuple(expand_shards(name)) if kind == _PATTERN else (root,))
