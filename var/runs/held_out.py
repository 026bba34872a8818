"""Images that a run is judged by, like those that it is trained on and none of them; and what a run shows of images."""

from collections.abc import Sequence
from typing import Any

import torch

from var.data.bad_images import SkipBadImages
from var.data.base import ImageData, Relabelled, condition_size, fingerprint
from var.data.catalog import open_data
from var.data.loading import load_images
from var.data.splits import MissingSplitError
from var.data.texts import check_captions, with_texts
from var.errors import UserError
from var.runs.evaluation import spread
from var.runs.settings import DataSettings
from var.text import open_encoder

COMPARED = 16  # images at most that tell a copy of the training images, whose names and sizes are alike, from others


def as_shown(data: ImageData, shown: DataSettings, *, device: str | None = None, progress: bool = True) -> ImageData:
    """Images as a run with these settings shows them: with what its encoder makes of their captions, if it reads such.

    For those who look at a run; the run itself keeps what it reads, see `Job.with_texts`.
    """
    if not shown.text:
        return data
    encoder = open_encoder(shown.text, device=device, progress=progress)
    how: dict[str, Any] = {"labels": shown.class_labels, "sequences": shown.text_sequence, "progress": progress}
    return with_texts(data, encoder, **how)


def held_out(source: str, data: ImageData, on_bad_image: str = "error", *, captions: bool = False) -> ImageData:
    """Images like `data` that are not trained on, if `source` has a split of them; else `data` itself.

    With `captions` they must have such. Raises `UserError` for a split that is there and cannot be used: to judge by
    training images instead would look as good as to judge by others.
    """
    try:
        return usable_held_out(source, data, on_bad_image, captions=captions)
    except MissingSplitError:
        return data
    except UserError as error:
        raise UserError(f"held-out images must be usable, but: {error} (evaluation.every=0 does without)") from error


def usable_held_out(source: str, data: ImageData, on_bad_image: str = "error", *, captions: bool = False) -> ImageData:
    """Images like `data` that are not trained on; raises `MissingSplitError` if `source` has no split of them."""
    channels, *size = data.shape
    how = {"on_bad_image": on_bad_image, "captions": captions}
    other = open_data(source, split="val", size=(size[0], size[1]), channels=channels, **how)
    if captions:
        check_captions(other, source)
    if _are_same(data, other):
        raise UserError(f"they must be others than the training images, got the same ones in {source}")
    # The same classes in another order, or some of them, are told by their names.
    if other.classes != data.classes:
        other = _relabelled(other, data.classes, f"the held-out {source}")
    if (found := condition_size(other)) != (wanted := condition_size(data)):
        raise UserError(
            "they must show as many classes and as wide vectors and sequences as the training images, "
            f"{tuple(wanted)}, got {tuple(found)}; give them vectors too"
        )
    return other


def _relabelled(data: ImageData, classes: Sequence[str], name: str) -> ImageData:
    """`data` with the labels of `classes`; what stands for bad images stays outermost, as captions need it."""
    if isinstance(data, SkipBadImages):
        return SkipBadImages(Relabelled(data.data, classes, name))
    return Relabelled(data, classes, name)


def _are_same(one: ImageData, other: ImageData) -> bool:
    """Whether two sets are copies or links of each other: names and sizes agree, and some images that are looked at."""
    if fingerprint(one) != fingerprint(other):
        return False
    places = spread(len(one), COMPARED)
    return bool(torch.equal(load_images(one, places), load_images(other, places)))
