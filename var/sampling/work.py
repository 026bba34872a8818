"""Work lists: which images are wanted, and the file that each of them belongs in."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from var.sampling.seeds import Seeds, SpreadSeeds


@dataclass(frozen=True, slots=True)
class Item:
    """One image that is wanted."""

    file: str  # below the folder of the set
    seed: int
    label: int | None  # None: without a class


@dataclass(frozen=True, slots=True)
class EverySeedForEveryClass:
    """All seeds for the first class, then for the second, and so on.

    The files are `SEED.png` for one class, and `LABEL-NAME/SEED.png` for several: class folders in the order of their
    labels, as `var.data.folder` reads them.
    """

    seeds: Seeds
    labels: tuple[int | None, ...]
    folders: tuple[str, ...]  # one for each label

    @property
    def count(self) -> int:
        """Number of images."""
        return self.seeds.count * len(self.labels)

    def __getitem__(self, index: int) -> Item:
        place, index = divmod(index, self.seeds.count)
        return self.find(self.folders[place], self.seeds[index])

    def find(self, folder: str, seed: int) -> Item:
        """The image of `seed` in a class's folder."""
        return Item(os.path.join(folder, f"{seed}.png"), seed, self.labels[self.folders.index(folder)])


@dataclass(frozen=True, slots=True)
class ClassOfSeed:
    """One image for each seed, whose class follows from the seed; the files are `SEED.png`."""

    seeds: Seeds | SpreadSeeds
    label_of: Callable[[int], int | None]
    folders: tuple[str, ...] = ("",)

    @property
    def count(self) -> int:
        """Number of images."""
        return self.seeds.count

    def __getitem__(self, index: int) -> Item:
        return self.find("", self.seeds[index])

    def find(self, folder: str, seed: int) -> Item:
        """The image of `seed`."""
        return Item(os.path.join(folder, f"{seed}.png"), seed, self.label_of(seed))


WorkList = EverySeedForEveryClass | ClassOfSeed
"""Images in a fixed order; image i is made when it is asked for, so that a list may be of any length."""


def class_folder(label: int, name: str, num_classes: int) -> str:
    """Name of a class's folder: the label, with zeros in front so that names sort as labels do, and the class's name.

    >>> class_folder(1, "goldfish, Carassius auratus", 1000)
    '001-goldfish'
    """
    number = f"{label:0{len(str(num_classes - 1))}}"
    word = re.sub(r"[^a-z0-9]+", "-", name.split(",")[0].lower()).strip("-")
    return number if word in ("", str(label)) else f"{number}-{word}"


def existing(work: WorkList, root: Path) -> Iterator[Item]:
    """Images of the list that have a file already, found by reading the folders and not by walking the list."""
    for folder in work.folders:
        try:
            names = [entry.name for entry in os.scandir(root / folder)]
        except FileNotFoundError:
            continue
        for name in names:
            stem, suffix = os.path.splitext(name)
            # 007.png and 7.png would be the same seed.
            if suffix == ".png" and re.fullmatch(r"0|[1-9][0-9]{0,18}", stem) and int(stem) in work.seeds:
                yield work.find(folder, int(stem))
