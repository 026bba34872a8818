"""Drawing a work list into files, by any number of processes, with an interruption at any time."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from var.errors import UserError
from var.files import make_folder, sweep
from var.images import save_png
from var.paths import expanded
from var.sampling.alone import check_alone
from var.sampling.claims import Claims
from var.sampling.record import Recipe
from var.sampling.work import Item, WorkList, existing, is_image_name

Draw = Callable[..., Sequence[Image.Image]]
"""A pipeline, from labels (None: images without a class) and seeds, and texts where there are such, to pictures."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a run did."""

    count: int  # images of the set
    new: int  # drawn by this process


def draw_image_set(
    work: WorkList,
    draw: Draw,
    recipe: Recipe,
    root: Path,
    *,
    batch_size: int = 16,
    overwrite: bool = False,
    progress: bool = True,
    on_start: Callable[[], None] = lambda: None,
) -> Drawn:
    """Draw the images of `work` that are not in the folder `root` yet; in the end all of them are.

    Other processes may do the same at the same time: each batch is drawn by one of them, and a batch whose process ends
    early is drawn by another. The batches are always the same stretches of the list, and one that lacks an image is
    drawn whole, so that the files are the same byte for byte however often the work was interrupted. `overwrite`
    replaces files that `recipe` would not make. `on_start` is called once the folder is known to be fit. Raises
    `UserError` for files that were made in another way, a folder of something else or one that cannot be written, and
    too large a batch.
    """
    with _folder(root):
        return _draw_all(work, draw, recipe, expanded(root), batch_size, overwrite, progress, on_start)


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """The folder `path`, made if it is missing; if the block fails, what was made for it and is empty is removed."""
    path = expanded(path)
    new = [each for each in (path, *path.parents) if not each.exists()]
    make_folder(path)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # only what is empty
            for each in new:
                each.rmdir()
        raise


def _draw_all(
    work: WorkList,
    draw: Draw,
    recipe: Recipe,
    root: Path,
    batch_size: int,
    overwrite: bool,
    progress: bool,
    on_start: Callable[[], None],
) -> Drawn:
    check_alone(work, recipe, root, overwrite=overwrite)
    finished = _finished(work, recipe, root, overwrite, progress)
    _sweep(work, root, alone=False)
    on_start()
    bar = tqdm(total=work.count, initial=len(finished), unit="image", disable=not progress, dynamic_ncols=True)
    new = 0
    with Claims(root) as claims, bar:

        def visit(start: int, *, wait: bool) -> bool:
            """Take care of the batch at `start`; False if another process is at it and `wait` is not asked for."""
            nonlocal new
            items = [work[index] for index in range(start, min(start + batch_size, work.count))]
            missing = [item for item in items if item.file not in finished]
            if not missing:
                return True
            with claims.hold(start, len(items), wait=wait) as mine:
                if not mine:  # but another process's, which may be done when this one gets it
                    return False
                files = {item.file for item in missing if not _is_finished(item, recipe, root, overwrite)}
                if files:
                    _draw_batch(items, files, draw, recipe, root)
            new += len(files)
            bar.update(len(missing))
            return True

        busy = [start for start in _starts(work.count, batch_size) if not visit(start, wait=False)]
        for start in busy:
            visit(start, wait=True)
        if claims.alone():
            _sweep(work, root, alone=True)
    return Drawn(work.count, new)


def _starts(count: int, batch_size: int) -> Iterator[int]:
    """Where the batches begin: first those that are this process's share, then those of the others."""
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    for share in range(processes):
        yield from range((rank + share) % processes * batch_size, count, processes * batch_size)


def _finished(work: WorkList, recipe: Recipe, root: Path, overwrite: bool, progress: bool) -> set[str]:
    """Files of finished images, looked at before any is drawn so that a conflict is found at once."""
    found = tqdm(existing(work, root), desc="check", unit="image", delay=1, leave=False, disable=not progress)
    return {item.file for item in found if _is_finished(item, recipe, root, overwrite)}


def _is_finished(item: Item, recipe: Recipe, root: Path, overwrite: bool) -> bool:
    try:
        return recipe.is_finished(item, root)
    except UserError:
        if overwrite:
            return False
        raise


def _draw_batch(items: list[Item], files: set[str], draw: Draw, recipe: Recipe, root: Path) -> None:
    """Draw all `items` and write those of `files`."""
    labels = [item.label for item in items if item.label is not None]
    prompts = [item.prompt for item in items if item.prompt is not None]
    assert {len(labels), len(prompts)} <= {0, len(items)}, "a batch is with classes or without, and so with texts"
    try:
        pictures = draw(labels or None, [item.seed for item in items], *([prompts] if prompts else []))
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"a batch of {len(items)} images is too large for the memory here; lower --batch-size"
        ) from error
    for item, picture in zip(items, pictures, strict=True):
        if item.file in files:
            save_png(picture, root / item.file, recipe.text(item))


def _sweep(work: WorkList, root: Path, *, alone: bool) -> None:
    """Remove the unfinished pictures of killed processes; of all others where this one is `alone`."""
    for folder in work.classes:
        if (root / folder).is_dir():
            sweep(root / folder, is_image_name, alone=alone)
