"""Work lists: which images are wanted, and the file that each of them belongs in."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from var.files import unwritable
from var.sampling.seeds import Seeds, SpreadSeeds

LONGEST = 60
"""Characters of a text in the name of a folder."""

MANIFEST = "sample-set.json"
"""The file beside the images of a protocol's set that tells of them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image that is wanted."""

    file: str  # below the folder of the set
    seed: int
    label: int | None  # None: without a class
    prompt: str | None = None  # None: without a text


@dataclass(frozen=True, slots=True)
class WorkList:
    """All seeds for the first class or text, then for the second, and so on; image i is made when it is asked for.

    The files are `SEED.png`, of several classes `LABEL-NAME/SEED.png`: class folders in the order of their labels, as
    `var.data.folder` reads them; of several texts `PLACE-WORDS/SEED.png`. A list may be of any length.
    """

    seeds: Seeds | SpreadSeeds
    classes: Mapping[str, int | Callable[[int], int | None] | None]  # by folder: a label, or how a seed gives one
    prompts: Mapping[str, str] = field(default_factory=dict)  # by folder, where there are texts

    @property
    def count(self) -> int:
        """Number of images."""
        return self.seeds.count * len(self.classes)

    def __getitem__(self, index: int) -> Item:
        place, index = divmod(index, self.seeds.count)
        return self.find(tuple(self.classes)[place], self.seeds[index])

    def find(self, folder: str, seed: int) -> Item:
        """The image of `seed` in a class's folder."""
        label = self.classes[folder]
        label = label(seed) if callable(label) else label
        return Item(os.path.join(folder, f"{seed}.png"), seed, label, self.prompts.get(folder))


def class_folder(label: int, name: str, num_classes: int) -> str:
    """Name of a class's folder: the label, with zeros in front so that names sort as labels do, and the class's name.

    >>> class_folder(1, "goldfish, Carassius auratus", 1000)
    '001-goldfish'
    """
    number = f"{label:0{len(str(num_classes - 1))}}"
    word = class_word(name.split(",")[0])
    return number if word in ("", str(label)) else f"{number}-{word}"


def prompt_folder(place: int, prompt: str, count: int) -> str:
    """Name of the folder of a text, the one at `place` of `count`: the place, and its first words.

    >>> prompt_folder(3, "A large red circle.", 12)
    '03-a-large-red-circle'
    """
    words = class_word(prompt)[:LONGEST].strip("-")
    return "-".join(filter(None, (f"{place:0{len(str(count - 1))}}", words)))


def class_word(name: str) -> str:
    """The word that stands for a class in the name of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def existing(work: WorkList, root: Path) -> Iterator[Item]:
    """Images of the list that have a file already, found by reading the folders and not by walking the list."""
    for folder in work.classes:
        try:
            names = [entry.name for entry in os.scandir(root / folder)]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unwritable(root / folder, error) from error
        for name in names:
            if is_image_name(name) and (seed := int(name.removesuffix(".png"))) in work.seeds:
                yield work.find(folder, seed)


def stranger_in(work: WorkList, root: Path) -> str | None:
    """The name of an image in the folder `root` itself whose seed is none of the list's; None if there is none."""
    names = sorted(os.listdir(root)) if root.is_dir() else []
    return next((name for name in names if is_image_name(name) and int(name[:-4]) not in work.seeds), None)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image of some seed; 007.png and 7.png would be the same one."""
    return re.fullmatch(r"(0|[1-9][0-9]{0,18})\.png", name) is not None
