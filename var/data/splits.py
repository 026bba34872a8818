"""The parts that data are divided into: which of them a split means, and which folder it lies in."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from var.data.entries import METADATA, Entries, read_entries
from var.errors import UserError, suggestion

SPLITS = ("train", "val", "test", "all")
_PARTS = {
    "train": ("train", "training"),
    "val": (
        *("val", "valid", "validation", "dev", "eval", "evaluation"),
        *("holdout", "hold-out", "heldout", "held-out", "held_out"),
    ),
    "test": ("test", "testing"),
}
_MEANT = {"train": ("train",), "test": ("test", "val"), "val": ("val", "test")}
"""The parts that a split may be, the first that is there."""
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")


class MissingSplitError(UserError):
    """The data have no part of that kind at all."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a split lies: a folder, the classes if another folder sets them, its shards if it has such.

    `metadata` is a file of captions beside the folder.
    """

    root: Path
    classes: tuple[str, ...] | None
    shards: tuple[Path, ...]
    metadata: Path | None = None


def chosen_part(names: Collection[str], split: str, source: object) -> str:
    """The one of `names` that `split` means; "val" and "test" stand for each other where there is only one of them.

    Raises `MissingSplitError` if there is none, `UserError` if there are two.
    """
    for part in _MEANT.get(split, ()):
        found = sorted(name for name in names if part_of(name) == part)
        if len(found) > 1:
            raise UserError(f"{source} must have one split {part!r}, got {' and '.join(map(repr, found))}; keep one")
        if found:
            return found[0]
    raise MissingSplitError(f"{source} has no split {split!r}; {suggestion(split, names)}")


def part_of(name: str) -> str | None:
    """Which of train, val and test a folder or split called `name` is; None if it is none of them."""
    return next((part for part, words in _PARTS.items() if name.lower() in words), None)


def locate_split(root: Path, split: str, *, keep_broken_links: bool = False) -> Part:
    """The part of the folder `root` that `split` means.

    A folder is divided if its sub-folders are called as parts are. Raises `UserError` if some are and some are not, so
    that it cannot be told whether they are parts or classes, and `MissingSplitError` for a part that is not there.
    """
    found = read_entries(root, keep_broken_links=keep_broken_links)
    parts = {part_of(name) for name in found.folders}
    if not found.folders or None in parts:
        if "train" in parts and parts & {"val", "test"}:
            stranger = next(name for name in found.folders if part_of(name) is None)
            raise UserError(
                f"{root} must hold either splits or classes, got the splits {_named(found)} and the folder "
                f"{stranger!r}; move that out"
            )
        if split not in ("train", "all"):
            raise MissingSplitError(
                f"{root} must have folders 'train' and 'test' to be split, got none; make them or use 'train'"
            )
        return Part(root, None, _shards(root, found))
    if loose := found.images or [name for name in found.others if name.lower().endswith(".tar")]:
        raise UserError(
            f"{root} must hold nothing beside the splits {_named(found)}, got {loose[0]!r}; move it into one"
        )
    chosen = chosen_part(found.folders, split, root)
    classes = None
    if part_of(chosen) != "train" and "train" in parts:
        train = root / chosen_part(found.folders, "train", root)
        if train.samefile(root / chosen):
            raise UserError(f"{root / chosen} must hold other images than {train.name!r}, got a link to it; remove it")
        classes = tuple(read_entries(train, keep_broken_links=True).folders)
    inside = read_entries(root / chosen, keep_broken_links=keep_broken_links)
    metadata = root / METADATA if found.metadata else None
    return Part(root / chosen, classes or None, _shards(root / chosen, inside), metadata)


def _shards(root: Path, found: Entries) -> tuple[Path, ...]:
    """The tar files in `root`, sorted, if they are what it holds."""
    if found.folders:
        return ()
    shards = [name for name in found.others if name.lower().endswith(".tar")]
    compressed = [name for name in found.others if name.lower().endswith(COMPRESSED)]
    if compressed and (shards or not found.images):
        raise UserError(f"shards must not be compressed, got {root / compressed[0]}; unpack it to a .tar")
    if shards and found.images:
        raise UserError(
            f"{root} must hold either shards or images, got both ({shards[0]!r} and {found.images[0]!r}); part them"
        )
    return tuple(root / name for name in shards)


def _named(found: Entries) -> str:
    return " and ".join(repr(name) for name in found.folders if part_of(name))
