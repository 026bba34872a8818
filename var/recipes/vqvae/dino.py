"""DINO's vision transformer, frozen, as training of tokenizers sees images through it."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from var.errors import UserError
from var.foreign.weights import read_tensors
from var.images import IMAGENET_DEVIATION, IMAGENET_MEAN
from var.weights import check_fit, kinds_of

DINO = "vit_small_patch16_224.dino"  # timm's name of DINO's ViT-S/16 (Caron et al. 2021, arXiv 2104.14294)


def dino_backbone(weights: Path | str | None = None) -> nn.Module:
    """DINO's ViT-S/16 for images of any size: from the file `weights`, or from the Hub through timm.

    Raises `UserError` that names the file if it is neither here nor to be had.
    """
    if weights is None:
        try:
            return _dino(pretrained=True)
        except Exception as error:  # whatever keeps timm from the file: no network, no such file, a damaged one
            raise UserError(
                f"DINO's features need the weights of timm's {DINO} (model.safetensors of the Hub's timm/{DINO}), "
                f"which are neither in the cache nor to be had ({type(error).__name__}); give their path as "
                "dino_weights, or leave DINO out: discriminator='patchgan', alignment=0"
            ) from error
    backbone = untrained_dino()
    found = read_tensors(weights)
    rule, remedy = f"{weights} must hold the weights of timm's {DINO}", "get them as model.safetensors from the Hub"
    check_fit(kinds_of(backbone.state_dict()), kinds_of(found), rule, remedy)
    backbone.load_state_dict(found)
    return backbone


def untrained_dino() -> nn.Module:
    """The same network with random weights: for plans, and to load weights into."""
    return _dino(pretrained=False)


def _dino(*, pretrained: bool) -> nn.Module:
    import timm

    return timm.create_model(DINO, pretrained=pretrained, num_classes=0, dynamic_img_size=True)


class ForBackbone(nn.Module):
    """Images in [-1, 1] of 1 or 3 channels as a network that was trained on ImageNet takes them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Float[Tensor, "batch c h w"], size: tuple[int, int]) -> Float[Tensor, "batch 3 _h _w"]:
        """The images at `size` (height, width), in three channels, by ImageNet's mean and deviation."""
        if images.shape[2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return ((images.expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.deviation
