"""Scikit-learn's 1,797 handwritten digits (8x8, 17 grey levels), split once and for all."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from var.data.arrays import ArrayData
from var.errors import UserError, suggestion
from var.foreign.regular import read_bytes
from var.randomness import keyed_seed

Split = Literal["train", "test", "all"]

ATTRIBUTION = (
    "Digits: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository "
    "(https://doi.org/10.24432/C50P49), as scikit-learn brings them. "
    "Licence: CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"
)

TEST_SIZE = 297
"""Images held out; 1,500 remain for training."""


def digits(split: str = "train") -> ArrayData:
    """The digits as float (n, 1, 8, 8) in [-1, 1] (v / 8 - 1 for the grey level v = 0 .. 16), classes "0" .. "9".

    "train" has 1,500 images, "test" 297, stratified by class; "all" has both. Raises `UserError` for another split, or
    if scikit-learn, which carries the images, is absent.
    """
    if split not in get_args(Split):
        raise UserError(f"unknown split {split!r} of the digits; {suggestion(split, get_args(Split))}")
    images, labels = _load()
    held_out = _test_mask()
    chosen = {"train": ~held_out, "test": held_out, "all": np.ones_like(held_out)}[split]
    floats = torch.from_numpy(images[chosen].astype(np.float32)) / 8 - 1
    return ArrayData(
        floats[:, None],
        labels[chosen],
        classes=[str(digit) for digit in range(10)],
        name="digits",
        licence="CC BY 4.0",
        attribution=ATTRIBUTION,
    )


def open_digits(split: str, size: tuple[int, int] | None, channels: int | None) -> ArrayData:
    """The digits, as `open_data` opens them; raises `UserError` for another size or number of channels."""
    if size not in (None, (8, 8)):
        raise UserError(f"the digits are 8x8, got size {size[0]}x{size[1]}; leave the size out")
    if channels not in (None, 1):
        raise UserError(f"the digits have 1 channel, got channels={channels}; leave it out")
    return digits(split)


@cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError('the digits need scikit-learn, which is absent; pip install "next-scale[compare]"')
    # Of the package only this file is needed; to import it, and scipy, takes a second or more.
    table = gzip.decompress(read_bytes(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"))
    rows = np.array([line.split(b",") for line in table.splitlines()]).astype(np.int64)
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]


@cache
def _test_mask() -> np.ndarray:
    """True for the held-out images: of each class its share of `TEST_SIZE`, in the order of a hash of the index.

    A hash, and not a library's permutation, so that no version of any library can move an image across the split.
    """
    _, labels = _load()
    mask = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(_shares(np.bincount(labels), TEST_SIZE)):
        members = np.flatnonzero(labels == label).tolist()
        members.sort(key=lambda index: keyed_seed("digits", index))
        mask[members[:count]] = True
    return mask


def _shares(counts: np.ndarray, total: int) -> list[int]:
    """Split `total` in proportion to `counts` by the method of largest remainders; ties go to the first."""
    products = [int(count) * total for count in counts]
    whole = sum(int(count) for count in counts)
    shares = [product // whole for product in products]
    by_remainder = sorted(range(len(products)), key=lambda i: -(products[i] % whole))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
