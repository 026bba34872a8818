"""The endless stream of training batches: what a step sees depends on (seed, step, rank, world size) only."""

import itertools
import multiprocessing
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from var.data.arrays import ArrayData
from var.data.augment import Augmentation
from var.data.base import ImageData
from var.errors import UserError
from var.randomness import keyed_generator


@dataclass(frozen=True)
class Batch:
    """Images in [-1, 1], their labels, and their indices in the data."""

    images: Float[Tensor, "batch channels height width"]
    labels: Int64[Tensor, " batch"]
    indices: Int64[Tensor, " batch"]

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on `device`."""
        return Batch(self.images.to(device), self.labels.to(device), self.indices.to(device))


def batches(
    data: ImageData,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    augment: Augmentation | None = None,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
) -> Iterator[Batch]:
    """Endless batches of `batch_size` for this rank, beginning with the one of step `start_step`.

    Each epoch is a permutation keyed by (seed, epoch), cut into global batches of batch_size * world_size, of which
    rank r takes the r-th part; the images left over wait for another epoch. Augmentation is keyed by (seed, epoch,
    index). Nothing depends on earlier steps or on `workers`, the number of processes that load images (in-memory data
    without augmentation need none and start none). Processes begin afresh, so `data` and `augment` must be picklable.

    Raises `UserError` for impossible numbers and for data smaller than one global batch.
    """
    _check_numbers(batch_size, start_step, rank, world_size, workers)
    if len(data) < batch_size * world_size:
        raise UserError(
            f"the data must hold at least one global batch of {batch_size * world_size} images "
            f"(batch size {batch_size} x {world_size} process(es)), got {len(data)}; lower the batch size"
        )
    order = _Order(len(data), batch_size, seed, start_step, rank, world_size)
    if workers == 0 or (isinstance(data, ArrayData) and augment is None):
        loader = _Loader(data, seed, augment)
        return (loader[key] for key in order)
    _check_picklable(augment)
    return _from_processes(data, seed, augment, order, workers)


def _check_numbers(batch_size: int, start_step: int, rank: int, world_size: int, workers: int) -> None:
    least = {"batch_size": (batch_size, 1), "world_size": (world_size, 1), "workers": (workers, 0)}
    least |= {"start_step": (start_step, 0), "rank": (rank, 0)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise UserError(f"{name} must be {lowest} or more, got {value}; correct it")
    if rank >= world_size:
        raise UserError(f"rank must lie in [0, {world_size}), got {rank}; it counts the processes from 0")


def _check_picklable(augment: Augmentation | None) -> None:
    try:
        pickle.dumps(augment)
    except Exception as error:  # pickling runs the code of others
        raise UserError(
            f"augment must be picklable to go to worker processes, got {augment!r}; define it at the top level of a "
            "module, or use workers=0"
        ) from error


Key = tuple[int, Tensor]  # the epoch, and the indices of one batch of one rank


@dataclass(frozen=True)
class _Order:
    """Which images each step takes."""

    length: int
    batch_size: int
    seed: int
    start_step: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[Key]:
        global_batch = self.batch_size * self.world_size
        per_epoch = self.length // global_batch
        first_epoch, first = divmod(self.start_step, per_epoch)
        for epoch in itertools.count(first_epoch):
            order = torch.randperm(self.length, generator=keyed_generator("order", self.seed, epoch))
            for place in range(first, per_epoch):
                start = place * global_batch + self.rank * self.batch_size
                # A copy, because sending a slice to a worker would send the whole permutation.
                yield epoch, order[start : start + self.batch_size].clone()
            first = 0


class _Loader(Dataset):
    """From a key to its batch; the same code in this process and in workers."""

    def __init__(self, data: ImageData, seed: int, augment: Augmentation | None):
        self.data, self.seed, self.augment = data, seed, augment

    def __getitem__(self, key: Key) -> Batch:
        epoch, indices = key
        if isinstance(self.data, ArrayData) and self.augment is None:
            images = self.data.images.index_select(0, indices)
        else:
            images = torch.stack([self._image(epoch, index) for index in indices.tolist()])
        return Batch(images, self.data.labels.index_select(0, indices), indices)

    def _image(self, epoch: int, index: int) -> Tensor:
        image = self.data.load(index)
        if self.augment is None:
            return image
        return self.augment(image, keyed_generator("augment", self.seed, epoch, index))


class _WorkerLoader(_Loader):
    """Returns a `UserError` instead of raising it: the data loader would wrap it into a traceback of many lines."""

    def __getitem__(self, key: Key) -> Batch | UserError:
        try:
            return super().__getitem__(key)
        except UserError as error:
            return error


def _from_processes(
    data: ImageData, seed: int, augment: Augmentation | None, order: _Order, workers: int
) -> Iterator[Batch]:
    loaded = DataLoader(
        _WorkerLoader(data, seed, augment),
        batch_size=None,
        sampler=order,
        num_workers=workers,
        collate_fn=_unchanged,
        multiprocessing_context=_process_context(),
        generator=torch.Generator(),  # else the loader takes a seed for its workers from the global stream
    )
    for batch in loaded:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _process_context() -> Any:
    """Never a fork of this process: one that runs threads (OpenMP, CUDA, progress bars) can deadlock its children."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Torch, which takes seconds to import, is imported once and not in every worker. "__main__" is Python's default.
    context.set_forkserver_preload(["__main__", "torch"])
    return context


def _unchanged(batch: Any) -> Any:
    return batch
