"""Data sets of the library `datasets` as image data."""

from pathlib import Path
from typing import Any

import torch

from var.data.pictures import PictureData
from var.errors import UserError, first_line, suggestion


class HuggingFaceData(PictureData):
    """The images of a `datasets.Dataset` (the kind with random access), decoded as `PictureData` says.

    Args:
        image: the column of images.
        label: the column of labels, whole numbers or a `ClassLabel`, which gives the class names; None or an absent
            column makes all images one class, "unlabelled".
        name: what messages call the data.

    Raises `UserError` if a column is not there or the labels are no class indices.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        size: int | tuple[int, int],
        channels: int = 3,
        image: str = "image",
        label: str | None = "label",
        name: str = "dataset",
    ):
        super().__init__(size=size, channels=channels)
        datasets = import_datasets()
        if image not in dataset.column_names:
            raise UserError(f"{name} must have a column {image!r} of images; {suggestion(image, dataset.column_names)}")
        self.name, self._image = name, image
        # Undecoded, so that our rules for broken and huge pictures hold here too.
        self.dataset = dataset.cast_column(image, datasets.Image(decode=False))
        self.classes, self.labels = _labels(dataset, label, name)

    def source(self, index: int) -> Path | bytes:
        """The encoded picture at `index`."""
        cell = self.dataset[index][self._image]
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])

    def describe(self, index: int) -> str:
        """Its name in messages, such as "dataset[12]"."""
        return f"{self.name}[{index}]"

    def identity(self) -> str:
        """What the fingerprint takes in: that of the data set."""
        return str(self.dataset._fingerprint)


def _labels(dataset: Any, label: str | None, name: str) -> tuple[tuple[str, ...], torch.Tensor]:
    if label is None or label not in dataset.column_names:
        return ("unlabelled",), torch.zeros(len(dataset), dtype=torch.int64)
    try:
        numbers = torch.tensor(list(dataset[label]), dtype=torch.int64)
    except (TypeError, ValueError) as error:
        raise UserError(f"the column {label!r} of {name} must hold whole numbers: {error}; choose another") from error
    names = getattr(dataset.features[label], "names", None)
    names = tuple(names) if names else tuple(str(number) for number in range(int(numbers.max()) + 1))
    if int(numbers.min()) < 0 or int(numbers.max()) >= len(names):
        raise UserError(
            f"the labels of {name} must lie in [0, {len(names)}), got values from {int(numbers.min())} to "
            f"{int(numbers.max())}; drop what has no label"
        )
    return names, numbers


def open_huggingface(name: str, *, split: str, size: int | tuple[int, int], channels: int) -> HuggingFaceData:
    """The data set `name` (a folder that `save_to_disk` left, or an id on the Hub) as image data.

    Raises `UserError` if the library is absent, the data cannot be had, or there is no such split.
    """
    datasets = import_datasets()
    try:
        local = Path(name).expanduser()
        found = datasets.load_from_disk(str(local)) if local.is_dir() else datasets.load_dataset(name)
    except Exception as error:  # the library raises its own kinds, the Hub's, and those of the file system
        rule = f"{name!r} must be a data set on disk or on the Hub"
        raise UserError(f"{rule}, but: {first_line(error)}; check the name") from error
    if not isinstance(found, dict):
        return HuggingFaceData(found, size=size, channels=channels, name=name)
    held_out = {"test": ("test", "validation", "val"), "val": ("validation", "val", "test")}
    chosen = next((part for part in held_out.get(split, (split,)) if part in found), None)
    if chosen is None:
        raise UserError(f"{name} has no split {split!r}; {suggestion(split, found)}")
    return HuggingFaceData(found[chosen], size=size, channels=channels, name=name)


def import_datasets() -> Any:
    """The library `datasets`, or a `UserError` that says how to install it."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            'such data need the library datasets, which is absent; pip install "next-scale[stream]"'
        ) from error
    return datasets
