"""Which files of a folder are its images: one order everywhere, and a word on whatever is left out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from var import quantities
from var.data.entries import METADATA, RECORD, SYSTEM
from var.errors import UserError, listed
from var.files import is_unfinished
from var.foreign.pictures import ACCEPTED, SUFFIXES
from var.locks import LOCK
from var.names import shown
from var.sampling.work import MANIFEST

_NAMED = 3
"""Names in a note."""

_SEVERAL = {
    "system entry": "system entries",
    "file that is no image": "files that are no images",
    "folder without images": "folders without images",
    "folder inside a class folder": "folders inside class folders",
    "picture of many images": "pictures of many images",
}


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of a folder, in order."""

    files: tuple[Path, ...]
    folders: tuple[str, ...]  # the class folder of each, "" for one beside them; none where there are no such folders
    notes: tuple[str, ...]  # what was left out, a sentence each


def list_images(root: Path) -> ImageFolder:
    """The image files of `root`, or of the class folders in it, one level deep.

    Numbers come first, by their value, then other names; class folders are in the order of their names. The order is
    that of the names alone, whatever the disk says. Raises `UserError` for a folder without images, and for one that
    cannot be read.
    """
    left: defaultdict[str, list[str]] = defaultdict(list)
    loose, folders = _entries(root, left)
    found = {folder: _entries(folder, left) for folder in folders}
    classes = {folder: images for folder, (images, _) in found.items() if images}
    if not classes and not loose:
        raise UserError(f"no images in {root}; give a folder with {ACCEPTED} files")
    left["folder without images"] = [folder.name for folder in folders if folder not in classes]
    left["folder inside a class folder"] = [f"{folder.name}/{one.name}" for folder in found for one in found[folder][1]]
    if not classes:
        return ImageFolder(tuple(loose), (), tuple(_notes(root, left)))
    files = [(file, "") for file in loose]
    files += [(file, folder.name) for folder, images in classes.items() for file in images]
    paths, names = zip(*files, strict=True)
    return ImageFolder(paths, names, tuple(_notes(root, left)))


def _entries(folder: Path, left: defaultdict[str, list[str]]) -> tuple[list[Path], list[Path]]:
    """(images, folders) directly in `folder`, in order; what is neither is noted in what is `left` out."""
    images, folders = [], []
    try:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name in (MANIFEST, LOCK, RECORD, METADATA) or is_unfinished(entry):
                continue
            if entry.name.lower() in SYSTEM:
                left["system entry"].append(entry.name)
            elif entry.name.startswith("."):
                left["hidden file"].append(entry.name)
            elif entry.is_dir():
                folders.append(entry)
            elif entry.suffix.lower() in SUFFIXES:
                images.append(entry)
            else:
                left["file that is no image"].append(entry.name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{folder} must be a readable folder, but: {reason}; check the path and permissions") from error
    return sorted(images, key=_place), folders


def _place(path: Path) -> tuple[int, int, str]:
    """Where a name stands: a set's files are named by seed, without zeros in front. No two names share a place."""
    number = path.stem.isascii() and path.stem.isdigit()
    return (0, int(path.stem), path.name) if number else (1, 0, path.name)


def _notes(root: Path, left: dict[str, list[str]]) -> Iterable[str]:
    for kind, names in left.items():
        if names:
            yield ignored(root, kind, names)


def ignored(root: Path, kind: str, names: Sequence[str]) -> str:
    """The sentence on files of a `kind` that do not count, some of which are named."""
    number = quantities.count(len(names), kind, _SEVERAL.get(kind))
    return f"Ignored in {shown(root)}: {number} ({listed([shown(name) for name in names], _NAMED)})."
