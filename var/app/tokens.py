"""Token maps as pictures: near codes have near colours."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from var.tokenizer import Tokenizer

SIDE = 96
"""Pixels of the longer side, at least: coarse maps and fine ones are shown in one size."""


def code_colours(codes: Float[Tensor, "vocabulary width"]) -> UInt8[Tensor, "vocabulary 3"]:
    """A colour for each code: its ranks along the first three principal axes of the codebook, as red, green, blue."""
    centred = codes.detach().double().cpu()
    centred = centred - centred.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:3]
    strongest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    places = centred @ (axes * strongest.sign()).mT  # an axis has two directions, of which this is always the same one
    ranks = places.argsort(0).argsort(0).double() / max(len(codes) - 1, 1)
    ranks = torch.nn.functional.pad(ranks, (0, 3 - ranks.shape[1]), value=0.5)
    return (25 + 215 * ranks).round().to(torch.uint8)


def token_pictures(tokenizer: Tokenizer, token_maps: Sequence[Int64[Tensor, "_h _w"]]) -> list[Image.Image]:
    """A picture of each token map of an image, all of one size."""
    height, width = tokenizer.config.image_size
    larger = max(1, SIDE / max(height, width))
    size = round(width * larger), round(height * larger)
    pictures = []
    for scale, token_map in enumerate(token_maps):
        colours = code_colours(tokenizer.codes(scale))[token_map]
        pictures.append(Image.fromarray(np.asarray(colours)).resize(size, Image.Resampling.NEAREST))
    return pictures
