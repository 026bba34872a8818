"""The endless stream of training batches: what a step sees depends on (seed, step, rank, world size) only."""

import itertools
import math
import pickle
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from var.conditions import Condition
from var.data.arrays import ArrayData
from var.data.augment import Augmentation
from var.data.bad_images import SkipBadImages
from var.data.base import ImageData, WithoutImages, conditions_at
from var.data.loading import load_images
from var.data.whole_numbers import as_whole
from var.data.workers import check_workers, held_signals, live_with_parent, process_context
from var.errors import UserError
from var.names import received
from var.randomness import keyed_generator

Key = tuple[int, list[int]]
"""The epoch, and the indices of one batch of one rank; no tensor, which would reach a worker as a file of its own."""


@dataclass(frozen=True)
class Batch:
    """Images in [-1, 1], what they show, and their indices in the data."""

    images: Float[Tensor, "batch c h w"]
    condition: Condition
    indices: Int64[Tensor, " batch"]

    @property
    def labels(self) -> Int64[Tensor, " batch"]:
        """The classes of the images; raises `UserError` for data that show none."""
        if self.condition.labels is None:
            raise UserError("labels are those of images that show a class, got a batch with vectors alone; use them")
        return self.condition.labels

    def split(self, count: int) -> "list[Batch]":
        """The batch in `count` equal parts."""
        size = len(self.indices) // count
        rows = [slice(start, start + size) for start in range(0, len(self.indices), size)]
        return [Batch(self.images[r], self.condition[r], self.indices[r]) for r in rows]

    def to(self, device: torch.device | str) -> "Batch":
        """The batch with images and condition on `device`; the indices, which serve look-ups and messages, stay."""
        images = self.images.to(device, non_blocking=self.images.is_pinned())
        return Batch(images, self.condition.to(device), self.indices)

    def pin_memory(self) -> "Batch":
        """The batch in memory from which a GPU can copy on its own; the data loader calls it."""
        return Batch(self.images.pin_memory(), self.condition.each(Tensor.pin_memory), self.indices)


def batches(
    data: ImageData,
    batch_size: SupportsIndex,
    *,
    seed: SupportsIndex,
    start_step: SupportsIndex = 0,
    augment: Augmentation | None = None,
    rank: SupportsIndex = 0,
    world_size: SupportsIndex = 1,
    workers: SupportsIndex = 0,
    pin_memory: bool = False,
) -> Generator[Batch, None, None]:
    """Endless batches of `batch_size` for this rank, beginning with the one of step `start_step`.

    Each epoch is a permutation keyed by (seed, epoch), cut into global batches of batch_size * world_size, of which
    rank r takes the r-th part; the images left over wait for another epoch. Augmentation is keyed by (seed, epoch,
    index). Nothing depends on earlier steps or on `workers`, the number of processes that load images (in-memory data
    without augmentation need none and start none). Processes begin afresh, so `data` and `augment` must be picklable;
    they end when the stream is closed or dropped. `pin_memory` is for training on a GPU.

    Raises `UserError` for impossible numbers and for data smaller than one global batch.
    """
    numbers = {"batch_size": batch_size, "start_step": start_step, "rank": rank, "world_size": world_size}
    batch_size, start_step, rank, world_size, seed = _whole_numbers(numbers | {"seed": seed})
    check_batch(len(data), batch_size, world_size)
    order = _order(len(data), batch_size, seed, start_step, rank, world_size)
    return load_in_order(data, order, seed=seed, augment=augment, workers=workers, pin_memory=pin_memory)


def check_batch(images: int, batch_size: int, world_size: int) -> None:
    """Raise `UserError` for fewer `images` than a global batch has."""
    if images < batch_size * world_size:
        raise UserError(
            f"the data must hold at least one global batch of {batch_size * world_size} images "
            f"(batch size {batch_size} x {world_size} process(es)), got {images}; lower the batch size"
        )


def load_in_order(
    data: ImageData,
    keys: Iterable[Key],
    *,
    seed: int,
    augment: Augmentation | None = None,
    workers: SupportsIndex = 0,
    pin_memory: bool = False,
) -> Generator[Batch, None, None]:
    """The batches named by `keys`, each (epoch, indices), loaded as `batches` says."""
    workers = check_workers(workers)
    loader = _Loader(data, seed, augment)
    if workers == 0 or (augment is None and isinstance(data, (ArrayData, WithoutImages))):
        return _from_here(loader, keys, pin_memory)
    _check_picklable(augment)
    return _from_processes(loader, keys, workers, pin_memory)


def _whole_numbers(given: dict[str, Any]) -> Iterator[int]:
    """The numbers, in their order; raises `UserError` for one that is no whole number, or too small."""
    for name, value in given.items():
        whole, least = as_whole(value), {"batch_size": 1, "world_size": 1, "seed": -math.inf}.get(name, 0)
        if whole is None or whole < least:
            rule = "a whole number" if name == "seed" else f"{least} or more"
            raise UserError(f"{name} must be {rule}, got {received(value)}; give a whole number")
        if name == "world_size" and given["rank"] >= whole:
            raise UserError(f"rank must lie in [0, {whole}), got {given['rank']}; it counts the processes from 0")
        yield whole


def _check_picklable(augment: Augmentation | None) -> None:
    try:
        pickle.dumps(augment)
    except Exception as error:  # pickling runs the code of others
        raise UserError(
            f"augment must be picklable to go to worker processes, got {received(augment)}; define it at the top level "
            "of a module, or use workers=0"
        ) from error


def _order(length: int, batch_size: int, seed: int, start_step: int, rank: int, world_size: int) -> Iterator[Key]:
    """Which images each step takes."""
    per_epoch = length // (batch_size * world_size)
    first_epoch, first = divmod(start_step, per_epoch)
    for epoch in itertools.count(first_epoch):
        order = torch.randperm(length, generator=keyed_generator("order", seed, epoch))
        for place in range(first, per_epoch):
            start = (place * world_size + rank) * batch_size
            yield epoch, order[start : start + batch_size].tolist()
        first = 0


Found = dict[int, str]  # images that were found bad, index to reason


class _Loader(Dataset):
    """From a key to its batch; the same code in this process and in workers."""

    def __init__(self, data: ImageData, seed: int, augment: Augmentation | None):
        self.data, self.seed = data, seed
        self.augment = None if isinstance(data, WithoutImages) else augment

    def load(self, key: Key) -> Batch:
        """The batch named by `key`."""
        epoch, indices = key[0], torch.tensor(key[1])
        images = load_images(
            self.data, indices, self.augment, lambda index: keyed_generator("augment", self.seed, epoch, index)
        )
        return Batch(images, conditions_at(self.data, indices), indices)

    def __getitem__(self, key: Key) -> tuple[Batch, Found] | UserError:
        # Returned and not raised in a worker: the data loader would wrap the error into a traceback of many lines.
        try:
            batch = self.load(key)
            return batch, self.data.news() if isinstance(self.data, SkipBadImages) else {}
        except UserError as error:
            return error


def _from_here(loader: _Loader, keys: Iterable[Key], pin_memory: bool) -> Generator[Batch, None, None]:
    for key in keys:
        batch = loader.load(key)
        yield batch.pin_memory() if pin_memory else batch


def _from_processes(
    loader: _Loader, keys: Iterable[Key], workers: int, pin_memory: bool
) -> Generator[Batch, None, None]:
    loaded = DataLoader(
        loader,
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        collate_fn=_unchanged,
        multiprocessing_context=process_context(),
        pin_memory=pin_memory,
        worker_init_fn=live_with_parent,
        generator=torch.Generator(),  # else the loader takes a seed for its workers from the global stream
    )
    with held_signals():
        results = iter(loaded)
    try:
        for result in results:
            if isinstance(result, UserError):
                raise result
            batch, found = result
            if isinstance(loader.data, SkipBadImages):
                loader.data.note(found)
            yield batch
    finally:
        # An error's traceback holds this frame; garbage collection ends the workers later, and waits 5 s for each.
        del results


def _unchanged(batch: Any) -> Any:
    return batch
