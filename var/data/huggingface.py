"""Data sets of the library `datasets` as image data."""

from collections.abc import Container
from pathlib import Path
from typing import Any, SupportsIndex
from urllib.parse import parse_qsl

import torch

from var.data.base import Captions
from var.data.captions import checked_caption, no_caption
from var.data.class_names import checked_names, numbered_names
from var.data.image_size import Size
from var.data.pictures import PictureData
from var.data.splits import MissingSplitError, chosen_part
from var.data.whole_numbers import is_whole
from var.errors import UserError, first_line, suggestion
from var.foreign.pictures import BadImageError
from var.paths import expanded

HUB = "hf:"
COLUMNS = {"image": "image", "label": "label"}
"""The columns that are asked for by default."""
ASKED = (*COLUMNS, "caption")
"""What a name may ask for."""
LABEL_WORDS = frozenset(
    ("label", "labels", "class", "classes", "category", "categories", "target", "targets", "cls", "y", "digit")
)
"""Words in the names of columns that look as if they held labels."""
OTHER_NUMBERS = frozenset(
    ("id", "ids", "idx", "index", "width", "height", "w", "h", "size", "bytes", "length", "count", "number", "seed",
     "time", "timestamp", "date", "year", "hash", "key", "row", "page", "offset", "x")
)  # fmt: skip
"""Words in the names of columns of whole numbers that hold no labels; others may."""


class HuggingFaceData(PictureData):
    """The images of a `datasets.Dataset` (the kind with random access), decoded as `PictureData` says.

    Args:
        image: the column of images.
        label: the column of labels, whole numbers or a `ClassLabel`, which gives the class names; None makes all images
            one class, "unlabelled", and so does the absence of "label" where no other column could be meant.
        caption: the column of captions, which are texts; None for data without. Asking `captions` for one that is
            missing, empty or longer than 4096 characters raises `BadImageError`.
        name: what messages call the data.

    Raises `UserError` if a column is not there, the labels are no class indices, or the captions no texts.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        size: Size,
        channels: SupportsIndex = 3,
        image: str = "image",
        label: str | None = "label",
        caption: str | None = None,
        name: str = "dataset",
    ):
        super().__init__(size=size, channels=channels)
        datasets = import_datasets()
        if image not in dataset.column_names:
            raise UserError(
                f"{name} must have a column {image!r} of images; {suggestion(image, dataset.column_names)}; "
                f'name it as in "{HUB}NAME?image=COLUMN"'
            )
        self.name, self._image = name, image
        try:
            # Undecoded, so that our rules for broken and huge pictures hold here too.
            self.dataset = dataset.cast_column(image, datasets.Image(decode=False))
        except Exception as error:  # the library's own kinds, and Arrow's
            raise UserError(
                f"the column {image!r} of {name} must hold images: {first_line(error)}; choose another"
            ) from error
        self.classes, self.labels = _labels(dataset, _label_column(dataset, (image, caption), label, name), name)
        self._caption = caption
        self._texts = None if caption is None else _texts(dataset, caption, name)
        self.notes = _notes(self.classes, self.labels, dataset, name)

    def source(self, index: int) -> Path | bytes:
        """The encoded picture at `index`."""
        cell = self.dataset[index][self._image] or {}
        if cell.get("bytes") is None and not cell.get("path"):
            raise BadImageError(f"{self.describe(index)} must be an image, got an empty cell; drop it")
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])

    def describe(self, index: int) -> str:
        """Its name in messages, such as "dataset[12]"."""
        return f"{self.name}[{index}]"

    @property
    def captions(self) -> Captions | None:
        """The texts of the column of captions."""
        return None if self._texts is None else Captions(len(self), self._read_caption)

    def identity(self) -> str:
        """What the fingerprint takes in: that of the data set, and the column of captions."""
        own = str(self.dataset._fingerprint)
        return own if self._caption is None else f"{own} {self._caption}"

    def _read_caption(self, index: int) -> str:
        name = f"{self.describe(index)}, its {self._caption!r}"
        assert self._texts is not None
        text = self._texts[index][self._caption]
        if text is None:
            raise no_caption(name, "drop the image")
        return checked_caption(text, name)


def _texts(dataset: Any, caption: str, name: str) -> Any:
    """The data set with nothing but its column of captions."""
    if caption not in dataset.column_names:
        raise UserError(
            f"{name} must have a column {caption!r} of captions; {suggestion(caption, dataset.column_names)}; "
            f'name it as in "{HUB}NAME?caption=COLUMN"'
        )
    feature = dataset.features[caption]
    kind = str(getattr(feature, "dtype", ""))
    if kind not in ("string", "large_string"):
        raise UserError(
            f"the column {caption!r} of {name} must hold texts, got {kind or type(feature).__name__}; choose another"
        )
    return dataset.select_columns([caption])


def _label_column(dataset: Any, others: Container[str | None], label: str | None, name: str) -> str | None:
    """The column of labels; None if there is none, and none is missed."""
    if label is None or label in dataset.column_names:
        return label
    columns = [column for column in dataset.column_names if column not in others]
    plausible = [column for column in columns if _looks_like_labels(column, dataset.features[column])]
    plausible = plausible or [column for column in columns if _may_be_labels(column, dataset.features[column])]
    if label == COLUMNS["label"] and not plausible:
        return None
    shown = plausible or columns
    raise UserError(
        f"{name} has no column {label!r} of labels, but {', '.join(map(repr, shown)) or 'no others'}; name the one "
        f'that is meant, as in "{HUB}NAME?label=COLUMN", or none ("?label=")'
    )


def _looks_like_labels(column: str, feature: Any) -> bool:
    return getattr(feature, "names", None) is not None or not LABEL_WORDS.isdisjoint(_words(column))


def _may_be_labels(column: str, feature: Any) -> bool:
    is_number = str(getattr(feature, "dtype", "")).startswith(("int", "uint"))
    return is_number and OTHER_NUMBERS.isdisjoint(_words(column))


def _words(column: str) -> list[str]:
    return column.lower().replace("-", "_").replace(" ", "_").split("_")


def _labels(dataset: Any, label: str | None, name: str) -> tuple[tuple[str, ...], torch.Tensor]:
    if label is None:
        return ("unlabelled",), torch.zeros(len(dataset), dtype=torch.int64)
    rule = f"the column {label!r} of {name} must hold whole numbers"
    feature = dataset.features[label]
    kind = str(getattr(feature, "dtype", ""))
    if not kind.startswith(("int", "uint")):
        raise UserError(f"{rule}, got {kind or type(feature).__name__}; choose another, or none")
    numbers = list(dataset[label])
    if (bad := next((place for place, number in enumerate(numbers) if not is_whole(number)), None)) is not None:
        raise UserError(f"{rule}, got {numbers[bad]!r} at {bad}; drop what has no label")
    if not numbers:
        raise UserError(f"{name} must hold images, got none; choose another split")
    low, high = min(numbers), max(numbers)
    named = getattr(feature, "names", None)
    names = checked_names(named, name) if named else numbered_names(high + 1, name)
    if low < 0 or high >= len(names):
        raise UserError(
            f"the labels of {name} must lie in [0, {len(names)}), got values from {low} to {high}; "
            "drop what has no label"
        )
    return names, torch.tensor(numbers, dtype=torch.int64)


def _notes(classes: tuple[str, ...], labels: torch.Tensor, dataset: Any, name: str) -> tuple[str, ...]:
    if classes == ("unlabelled",):
        return (f"{name}: no column of labels ({', '.join(dataset.column_names)}), so all images are one class",)
    empty = len(classes) - len(labels.unique())
    return (f"{name}: {empty} of {len(classes)} classes have no image",) if empty else ()


def open_huggingface(name: str, *, split: str, size: Size, channels: SupportsIndex) -> HuggingFaceData:
    """The data set `name` (a folder that `save_to_disk` left, or an id on the Hub) as image data.

    `name` may end in the names of columns, "NAME?image=img&label=fine_label&caption=text"; an empty one is
    none.

    Raises `UserError` if the library is absent, the data cannot be had, or there is no such split.
    """
    name, columns = _parse(name)
    datasets = import_datasets()
    try:
        local = _folder(name)
        found = datasets.load_from_disk(str(local)) if local else datasets.load_dataset(name)
    except Exception as error:  # the library raises its own kinds, the Hub's, and those of the file system
        rule = f"{name!r} must be a data set on disk or on the Hub"
        raise UserError(f"{rule}, but: {first_line(error)}; check the name") from error
    if not isinstance(found, dict):
        if split not in ("train", "all"):
            raise MissingSplitError(f"{name} has no split {split!r}; it is one data set as a whole")
        return HuggingFaceData(found, size=size, channels=channels, name=name, **columns)
    chosen = chosen_part(found, split, name)
    return HuggingFaceData(found[chosen], size=size, channels=channels, name=name, **columns)


def places_of_huggingface(name: str) -> tuple[Path, ...]:
    """The folder of a data set on disk; nothing for one of the Hub."""
    local = _folder(_parse(name)[0])
    return (local,) if local else ()


def _folder(name: str) -> Path | None:
    return local if (local := expanded(name)).is_dir() else None


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """The name of the data set, and the columns that are asked for."""
    if "?" not in name or _folder(name):
        return name, {}
    name, _, query = name.rpartition("?")
    columns: dict[str, Any] = {}
    rule = "columns are named by image=, label= and caption="
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in ASKED or key in columns:
            problem = "is given twice" if key in columns else "is not known"
            raise UserError(f"{rule}, got {key!r}, which {problem}; correct it")
        columns[key] = value or None
    if not columns or columns.get("image", "") is None:
        raise UserError(f'{rule}, got {query!r}; as in "{HUB}NAME?label=fine_label"')
    return name, columns


def import_datasets() -> Any:
    """The library `datasets`, or a `UserError` that says how to install it."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            'such data need the library datasets, which is absent; pip install "next-scale[stream]"'
        ) from error
    return datasets
