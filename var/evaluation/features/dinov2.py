"""DINOv2 ViT-L/14 as a judge, through timm: features that see shapes where Inception sees textures."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from var.evaluation.features.extraction import Features, check_rgb
from var.evaluation.features.full_precision import full_float32
from var.evaluation.features.published_weights import PublishedExtractor, PublishedWeights
from var.images import IMAGENET_DEVIATION, IMAGENET_MEAN

DINOV2 = PublishedWeights(
    name="dinov2_vitl14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
)
"""The ViT-L/14 without registers, trained at 518 pixels."""

ARCHITECTURE = "vit_large_patch14_dinov2"
SIDE = 224  # pixels
PATCH = 14

_OFFSET = 0.1  # that the reference implementation adds to a new side before it divides


class DINOv2Extractor(PublishedExtractor):
    """The class token after the last norm (1024 numbers), as used by Stein et al. (2023, arXiv 2306.04675).

    Images are resized to 224x224 by Pillow's antialiased bicubic filter, rounded to uint8, and normalised with
    ImageNet's mean and deviation. Always float32, with TF32 off. Distances in these features are called FD-dinov2.
    """

    name = "dinov2"
    published = DINOV2

    @staticmethod
    def build(tensors: dict[str, Tensor]) -> nn.Module:
        """The network for images of 224 pixels, with the published tensors (1.2 GB)."""
        network = build_network()
        network.load_state_dict(fitted(tensors))
        return network

    def __call__(self, images: UInt8[Tensor, "batch c h w"]) -> Features:
        """Features of a batch of RGB images of any size.

        Raises `UserError` for images of another number of channels than 3.
        """
        check_rgb(images, "DINOv2")
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        pixels = (resized(images.cpu()).float() / 255 - mean) / deviation
        with torch.inference_mode(), full_float32():
            return Features(features=self.network(pixels.to(self._device)))


def build_network() -> nn.Module:
    """The network for images of 224 pixels, untrained."""
    import timm

    return timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, img_size=SIDE)


def fitted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors for a network of 224 pixels; the mask token, which only training needs, is left out."""
    kept = {name: tensor for name, tensor in tensors.items() if name != "mask_token"}
    return kept | {"pos_embed": resized_positions(kept["pos_embed"], SIDE // PATCH)}


def resized_positions(positions: Float[Tensor, "1 length width"], side: int) -> Float[Tensor, "1 _new_length width"]:
    """Position embeddings (class token first) of a grid of `side` by `side` patches, as the reference makes them.

    Bicubic, without antialiasing, and with the scale (side + 0.1) / old side, which moves every sample point a little;
    timm's own resize is antialiased, and its features are 1.7 % off.
    """
    old = round((positions.shape[1] - 1) ** 0.5)
    if old == side:
        return positions
    grid = positions[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    scale = (side + _OFFSET) / old
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", antialias=False)
    assert grid.shape[2:] == (side, side)  # the offset keeps the division from rounding below
    return torch.cat([positions[:, :1].float(), grid.flatten(2).transpose(1, 2)], dim=1)


def resized(images: UInt8[Tensor, "batch 3 h w"]) -> UInt8[Tensor, "batch 3 224 224"]:
    """Each image at 224x224, by Pillow's bicubic filter."""
    pictures = [Image.fromarray(pixels) for pixels in images.permute(0, 2, 3, 1).numpy()]
    arrays = [np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
