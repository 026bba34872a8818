"""From the name that a user types to a set of images."""

from pathlib import Path

from var.data.base import ImageData
from var.data.digits import digits
from var.data.folder import FolderData
from var.errors import UserError, suggestion

NAMES = ("digits",)
SPLITS = ("train", "test", "all")


def open_data(
    spec: str, *, split: str = "train", size: int | tuple[int, int] | None = None, channels: int | None = None
) -> ImageData:
    """The images called `spec`: "digits" (a folder of that name is "./digits"), or the path of a folder.

    A folder whose only sub-folders are "train" and "test" is split by them; of any other one, "train" and "all" give
    the whole. `size` is needed for folders; `channels` is 3 unless given. Raises `UserError` for an unknown name, a
    split that is not there, and a size or number of channels that the data do not have.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; {suggestion(split, SPLITS)}")
    if spec == "digits":
        return _digits(split, size, channels)
    root = Path(spec).expanduser()
    if not root.is_dir():
        reason = "it is a file" if root.exists() else "there is no such folder"
        raise UserError(
            f"data must be a folder or one of the known names, got {spec!r}, but {reason}; {suggestion(spec, NAMES)}"
        )
    if size is None:
        raise UserError(f"images of a folder need a size, got none for {spec!r}; give the side length in pixels")
    return FolderData(_split_folder(root, split), size=size, channels=3 if channels is None else channels)


def _digits(split: str, size: int | tuple[int, int] | None, channels: int | None) -> ImageData:
    if size not in (None, 8, (8, 8)):
        raise UserError(f"the digits are 8x8, got size {size}; leave the size out")
    if channels not in (None, 1):
        raise UserError(f"the digits have 1 channel, got channels={channels}; leave it out")
    return digits(split)


def _split_folder(root: Path, split: str) -> Path:
    try:
        names = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    except OSError as error:
        raise UserError(f"{root} must be a readable folder, but: {error.strerror}; mend its permissions") from error
    if names and names <= {"train", "test"}:
        if split not in names:
            raise UserError(f"{root} has no split {split!r}; {suggestion(split, names)}")
        return root / split
    if split == "test":
        raise UserError(f"{root} must have folders 'train' and 'test' to be split, got none; make them or use 'train'")
    return root
