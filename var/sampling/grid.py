"""A set of image files at a glance."""

from pathlib import Path

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


def check_grid(work: WorkList, path: Path) -> None:
    """Refuse, before anything is drawn, a grid that could not be written; raises `UserError`."""
    if path.suffix.lower() != ".png":
        raise UserError(f"a grid is a PNG file, got {str(path)!r}; name it for example {path.stem or 'grid'}.png")
    if work.count > MOST_IMAGES:
        raise UserError(
            f"a grid holds up to {MOST_IMAGES} images, got {work.count}; name fewer seeds, or leave the grid out"
        )
    check_output(path)


def save_grid(work: WorkList, recipe: Recipe, root: Path, path: Path) -> None:
    """Put the files of a finished set side by side: a row for each class, or a square for one class or many seeds."""
    items = [work[index] for index in range(work.count)]
    pictures = []
    for item in items:
        with opened_picture(root / item.file, formats=("PNG",)) as picture:
            pixels = torch.from_numpy(np.array(picture))
        pictures.append(pixels[..., None] if pixels.ndim == 2 else pixels)
    images = from_uint8(torch.stack(pictures).permute(0, 3, 1, 2))
    seeds = work.seeds.count
    columns = seeds if work.count > seeds and seeds <= ROW else int(np.ceil(np.sqrt(work.count)))
    record = {**recipe.settings, "versions": dict(recipe.versions)}
    told = ("class_label", "seed", "prompt")
    record["images"] = [{k: v for k, v in recipe.record(item).items() if k in told} for item in items]
    save_png(image_grid(images, columns), path, {KEY: record_text(record)})
