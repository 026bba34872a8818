"""Images to token maps as pipelines need them: in eval mode, in the tokenizer's type, a few at a time."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.eval_mode import eval_mode
from var.images import images_at_once
from var.tokenizer import Tokenizer


@torch.no_grad()
def encoded(tokenizer: Tokenizer, images: Float[Tensor, "batch c h w"]) -> list[Int64[Tensor, "batch _h _w"]]:
    """Token maps of images in [-1, 1]; memory holds the features of a few images only."""
    codes = tokenizer.codes(0)
    with eval_mode(tokenizer):
        few = images.split(images_at_once(tokenizer.config.image_size, tokenizer.device))
        parts = [tokenizer.encode(part.to(codes.device, codes.dtype)) for part in few]
    return [torch.cat(maps) for maps in zip(*parts, strict=True)]
