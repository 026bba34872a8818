"""The codec of a training in its latent space: opened, measured, counted."""

import copy
from typing import Any

import torch

from diffusion_baseline.unet import UNetConfig
from var.autoencoder import LatentCodec
from var.data.base import ImageData
from var.data.loading import load_images
from var.errors import UserError
from var.hub.layout import PIPELINE_INDEX
from var.hub.remote import find_folder
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import spread

MEASURED = 1000
"""Images whose latents tell the scale."""
BATCH = 50


def check_codec(codec: LatentCodec | None, unet: UNetConfig, *, latent: bool) -> None:
    """Raise `UserError` unless the settings of a run and its codec go together."""
    if latent != (codec is not None):
        got, remedy = ("none", "add --codec FOLDER") if latent else ("one for pixels", "set latent=true")
        raise UserError(f"diffusion in a latent space needs a trained codec, and no other does, got {got}; {remedy}")
    found = unet.image_channels, *unet.size
    if codec is not None and codec.latent_shape != found:
        wanted = codec.latent_shape
        raise UserError(
            f"unet.image_channels and image_size are given by the codec, {wanted}, got {found}; leave them out"
        )


def open_codec(source: str) -> LatentCodec:
    """The codec in the folder of a run, a codec or a pipeline with one, or on the Hub; raises `UserError`."""
    folder = find_folder(source)
    place = folder / "codec" if (folder / PIPELINE_INDEX).exists() else folder
    try:
        return LatentCodec.from_pretrained(place)
    except UserError as error:
        raise UserError(
            f"{error} (a codec is made by `var train autoencoder`, or by `var codec` of a trained tokenizer)"
        ) from error


def latent_size(codec: LatentCodec) -> dict[str, Any]:
    """The fields of a U-Net's config that the codec gives."""
    channels, height, width = codec.latent_shape
    return {"image_channels": channels, "image_size": height if height == width else (height, width)}


def measure(codec: LatentCodec, data: ImageData) -> None:
    """Scale the latents of `codec` by those of some images, evenly spread."""
    places = spread(len(data), MEASURED).split(BATCH)
    codec.eval().measure(load_images(data, some) for some in places)


def encoding_cost(codec: LatentCodec) -> Cost:
    """Of an image, in a training step."""
    outline = copy.deepcopy(codec).to("meta")
    image = torch.zeros(1, *codec.image_shape, device="meta", dtype=outline.scale.dtype)
    return cost_of(outline, lambda: outline.compress(image), backward=False)
