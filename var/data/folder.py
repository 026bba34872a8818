"""Images in folders, one folder per class, decoded when they are needed."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import SupportsIndex

from var.data.base import sampled_places
from var.data.caption_files import read_captions
from var.data.entries import RECORD
from var.data.image_size import Size
from var.data.listing import list_images
from var.data.pictures import PictureData
from var.names import shown
from var.paths import expanded
from var.terms import Terms


class FolderData(PictureData):
    """The images of `root`, one folder per class, in the order of their names.

    Classes are the folders in `root`, one level deep, sorted by name; without any, the images in `root` itself form the
    class "unlabelled". What is hidden, an operating system's, or no png, jpg, jpeg, webp, bmp or gif (first frame) is
    left out, and counted in `notes`. Images in folders within a class folder are refused. How a picture becomes an
    image is said at `PictureData`.

    `captions`, if they are asked for, are the texts NAME.txt beside NAME.png, read when needed, or the "text"
    (or "caption") in the lines of a `metadata.jsonl`, each with a "file_name" as seen from the folder where that lies:
    `root` or a class folder. They are None where no image has one; how many images have none is in `notes`. Asking for
    one that is missing, empty, longer than 4096 characters or no UTF-8 raises `BadImageError`, with its place;
    `SkipBadImages` passes over such an image.

    Args:
        classes: names of the classes in the order of their labels, as another part of the data has them; None takes the
            folders.
        keep_broken_links: take links that lead nowhere for images that cannot be read, instead of raising at once.
        captions: read them.
        index: a file that keeps the listing of a large folder; made if absent, refreshed where the folder has changed.
        metadata: another `metadata.jsonl`, beside `root`, as of data that are divided into folders.

    Raises `UserError` if there is nothing to read, for a line of `metadata.jsonl` that is no JSON object with a
    "file_name" or whose image is not there (with `keep_broken_links` those are counted), and for an image with two
    captions; `load` raises it, with the path, for a file that is no whole image.
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
        captions: bool = False,
        metadata: Path | None = None,
        progress: bool = False,
    ):
        super().__init__(size=size, channels=channels)
        self.root = expanded(root)
        self.places = (self.root,)
        listing = list_images(
            self.root, classes=classes, keep_broken_links=keep_broken_links, index=index, progress=progress
        )
        self.classes, self.paths, self.labels = listing.classes, listing.paths, listing.labels
        self.captions, self.notes = None, listing.notes
        self.licence, self.attribution = Terms.of_file(self.root / RECORD)
        if captions:
            self.captions, notes = read_captions(self.root, listing, upper=metadata, skip=keep_broken_links)
            self.notes += notes

    def source(self, index: int) -> Path:
        """The path of the image at `index`."""
        return self.paths[index]

    def describe(self, index: int) -> str:
        """The path of the image at `index`, fit to be printed."""
        return shown(str(self.paths[index]))

    def identity(self) -> str:
        """What the fingerprint takes in: all names, the sizes of a thousand files, and captions, if there are any."""
        digest = hashlib.blake2b(self.paths.names.content(), digest_size=16)
        for place in sampled_places(len(self)):
            path = self.paths[place]
            digest.update(b"%d " % (path.stat().st_size if path.exists() else -1))
        if self.captions:
            digest.update(self.captions.identity().encode())
        return digest.hexdigest()
