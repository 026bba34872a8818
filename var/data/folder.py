"""Images in folders, one folder per class, decoded when they are needed."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import SupportsIndex

from var.data.image_size import Size
from var.data.listing import list_images
from var.data.pictures import PictureData
from var.names import shown
from var.paths import expanded
from var.randomness import keyed_seed

SAMPLED_SIZES = 1000


class FolderData(PictureData):
    """The images of `root`, one folder per class, in the order of their names.

    Classes are the folders in `root`, one level deep, sorted by name; without any, the images in `root` itself form the
    class "unlabelled". What is hidden, an operating system's, or no png, jpg, jpeg, webp, bmp or gif (first frame) is
    left out, and counted in `notes`. Images in folders within a class folder are refused. How a picture becomes an
    image is said at `PictureData`.

    Args:
        classes: names of the classes in the order of their labels, as another part of the data has them; None takes the
            folders.
        keep_broken_links: take links that lead nowhere for images that cannot be read, instead of raising at once.
        index: a file that keeps the listing of a large folder; made if absent, refreshed where the folder has changed.

    Raises `UserError` if there is nothing to read; `load` raises it, with the path, for a file that is no whole image.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        size: Size,
        channels: SupportsIndex = 3,
        classes: Sequence[str] | None = None,
        keep_broken_links: bool = False,
        index: Path | None = None,
        progress: bool = False,
    ):
        super().__init__(size=size, channels=channels)
        self.root = expanded(root)
        self.places = (self.root,)
        listing = list_images(
            self.root, classes=classes, keep_broken_links=keep_broken_links, index=index, progress=progress
        )
        self.classes, self.paths, self.labels = listing.classes, listing.paths, listing.labels
        self.notes = listing.notes

    def source(self, index: int) -> Path:
        """The path of the image at `index`."""
        return self.paths[index]

    def describe(self, index: int) -> str:
        """The path of the image at `index`, fit to be printed."""
        return shown(str(self.paths[index]))

    def identity(self) -> str:
        """What the fingerprint takes in: all names, and the sizes of a thousand files."""
        digest = hashlib.blake2b(self.paths.names.content(), digest_size=16)
        draws = range(SAMPLED_SIZES) if len(self) > SAMPLED_SIZES else range(0)
        for place in sorted({keyed_seed("sizes", draw) % len(self) for draw in draws}) or range(len(self)):
            path = self.paths[place]
            digest.update(b"%d " % (path.stat().st_size if path.exists() else -1))
        return digest.hexdigest()
