"""A set of image files at a glance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from var.errors import UserError
from var.files import check_output
from var.foreign.pictures import opened_picture
from var.images import from_uint8, image_grid, save_png
from var.sampling.record import KEY, Recipe, record_text
from var.sampling.work import WorkList

MOST_IMAGES = 1024
ROW = 16
"""Up to this many seeds of several classes stand in one row."""


def check_grid(count: int, path: Path) -> None:
    """Refuse, before anything is drawn, a grid of `count` images that could not be written; raises `UserError`."""
    if path.suffix.lower() != ".png":
        raise UserError(f"a grid is a PNG file, got {str(path)!r}; name it for example {path.stem or 'grid'}.png")
    if count > MOST_IMAGES:
        raise UserError(
            f"a grid holds up to {MOST_IMAGES} images, got {count}; name fewer seeds, or leave the grid out"
        )
    check_output(path)


def save_grid(work: WorkList, recipe: Recipe, root: Path, path: Path) -> None:
    """Put the files of a finished set side by side: a row for each class, or a square for one class or many seeds."""
    items = [work[index] for index in range(work.count)]
    seeds = work.seeds.count
    columns = seeds if work.count > seeds and seeds <= ROW else int(np.ceil(np.sqrt(work.count)))
    told = ("class_label", "seed", "prompt")
    images = [{k: v for k, v in recipe.record(item).items() if k in told} for item in items]
    record = {**recipe.settings, "versions": dict(recipe.versions), "images": images}
    write_grid([opened_pixels(root / item.file) for item in items], columns, path, record)


def opened_pixels(path: Path) -> np.ndarray:
    """The pixels of an image file of ours."""
    with opened_picture(path, formats=("PNG",)) as picture:
        return np.array(picture)


def write_grid(pictures: Sequence[Any], columns: int, path: Path, record: Mapping[str, Any]) -> None:
    """Put pictures, or pixels of such, of one size and mode side by side, with a record of "images" and all else."""
    pixels = torch.from_numpy(np.stack([np.asarray(each) for each in pictures]))
    images = from_uint8((pixels[..., None] if pixels.ndim == 3 else pixels).permute(0, 3, 1, 2))
    save_png(image_grid(images, columns), path, {KEY: record_text(record)})
