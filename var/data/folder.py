"""Images in folders, one folder a class, decoded when they are needed."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image, ImageOps
from torch import Tensor

from var.errors import UserError
from var.images import from_uint8

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # nothing else is even tried: some of Pillow's run programs
MAX_PIXELS = 64 * 2**20
"""Larger images are refused before they are decoded: a file of 17 KB can declare gigabytes."""


class FolderData:
    """The images of `root`, one folder a class, in the order of their names.

    Classes are the folders in `root`, one level deep, sorted by name; without any, the images in `root` itself form the
    class "unlabelled". Hidden files and files that are not png, jpg, jpeg, webp, bmp or gif (first frame) are ignored.

    An image is rotated as its EXIF says, laid on white if it has transparency, converted to grey (`channels=1`) or RGB
    (`channels=3`), resized with Pillow's antialiased bicubic filter until it just covers `size` (for a square: the
    shorter side fits), and cropped to it around the centre.

    Args:
        root: the folder.
        size: side length, or (height, width), of the images that `load` gives.
        channels: 1 or 3.

    Raises `UserError` if there is nothing to read; `load` raises it, with the path, for a file that is no whole image.
    """

    def __init__(self, root: Path | str, *, size: int | tuple[int, int], channels: int = 3):
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise UserError(f"images must be at least 1x1 pixels, got size {height}x{width}; ask for a positive size")
        if channels not in (1, 3):
            raise UserError(
                f"a folder gives images of 1 (grey) or 3 (RGB) channels, got {channels}; choose one of them"
            )
        self.root = Path(root)
        self.shape = (channels, height, width)
        self.classes, self.paths, self.labels = _scan(self.root)

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Float[Tensor, "channels height width"]:
        """The image at `index`, float32 in [-1, 1]; raises `UserError` if its file is not a whole image."""
        channels, height, width = self.shape
        path = self.paths[index]
        image = _cover(_decode(path, channels), height, width, path)
        pixels = torch.from_numpy(np.array(image)).reshape(height, width, channels)
        return from_uint8(pixels.permute(2, 0, 1).contiguous())


def _scan(root: Path) -> tuple[tuple[str, ...], list[Path], Int64[Tensor, " n"]]:
    folders, loose = _visible(root)
    if folders and loose:
        raise UserError(
            f"{root} must hold either class folders or images, got both ({folders[0].name!r} and {loose[0].name!r}); "
            "move the images into class folders"
        )
    if not folders:
        if not loose:
            raise UserError(f"no images in {root}; put one folder a class there, with {_accepted()} files")
        return ("unlabelled",), loose, torch.zeros(len(loose), dtype=torch.int64)
    paths, labels = [], []
    for label, folder in enumerate(folders):
        members = _visible(folder)[1]
        if not members:
            raise UserError(f"no images in the class folder {folder}; put {_accepted()} files there, or remove it")
        paths += members
        labels += [label] * len(members)
    return tuple(folder.name for folder in folders), paths, torch.tensor(labels, dtype=torch.int64)


def _visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the image files directly in `folder`, sorted by name; not descending, it can meet no loop."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{folder} must be a readable folder, but: {reason}; check the path and permissions") from error
    folders, images = [], []
    for name in names:
        path = folder / name
        if path.is_dir():
            folders.append(path)
        elif path.is_symlink() and not path.exists():
            raise UserError(
                f"{path} must lead to a file or folder, but the link is broken or a loop; repair or remove it"
            )
        elif path.suffix.lower() in SUFFIXES:
            if not path.is_file():  # opening a pipe would wait for ever
                raise UserError(f"{path} must be a regular file, got a pipe, socket or device; remove it")
            images.append(path)
    return folders, images


def _accepted() -> str:
    return ", ".join(suffix[1:] for suffix in SUFFIXES)


def _decode(path: Path, channels: int) -> Image.Image:
    """The picture at `path`, upright, in mode L or RGB."""
    too_large = f"{path} must have at most {MAX_PIXELS} pixels, got {{}}; scale the image down"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the stricter rule
            opened = Image.open(path, formats=FORMATS)
        with opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise UserError(too_large.format(f"{width}x{height}"))
            return _convert(ImageOps.exif_transpose(opened), channels)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(too_large.format("far more")) from error
    except PermissionError as error:
        raise UserError(f"{path} must be readable, got: {error.strerror}; mend its permissions") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds for broken files
        size = path.stat().st_size if path.exists() else "no"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} must be a whole {_accepted()} image, got {size} bytes that cannot be decoded ({reason}); "
            "replace or remove it"
        ) from error


def _convert(image: Image.Image, channels: int) -> Image.Image:
    """The picture in mode L (1 channel) or RGB (3), transparency laid on white, 16 bits scaled to 8."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.rint(values.clip(0, 65535) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _cover(image: Image.Image, height: int, width: int, path: Path) -> Image.Image:
    """Resize to just cover (`height`, `width`), and crop to it around the centre."""
    scale = max(height / image.height, width / image.width)
    covered_height = max(height, round(image.height * scale))
    covered_width = max(width, round(image.width * scale))
    if covered_height * covered_width > MAX_PIXELS:
        raise UserError(
            f"{path} must not be so long that to cover {height}x{width} takes more than {MAX_PIXELS} pixels, "
            f"got {image.height}x{image.width} (height x width); crop it"
        )
    top, left = (covered_height - height) // 2, (covered_width - width) // 2
    covered = image.resize((covered_width, covered_height), Image.Resampling.BICUBIC)
    return covered.crop((left, top, left + width, top + height))
