"""What models that work in a latent space see of an encoder and its decoder."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from var.configs import config_to_text
from var.errors import UserError
from var.hub import PretrainedModel
from var.images import check_images
from var.sampling.finite import check_finite
from var.weights import add_to_digest


class LatentCodec(PretrainedModel, nn.Module, ABC):
    """Images to latents of mean 0 and variance 1, and back.

    A subclass says its shapes and the way of images of [-1, 1] through its networks; it is saved and loaded by its
    name, which its module's import makes known. `scale` and `shift` are 1 and 0 until they are measured.
    """

    scale: Float[Tensor, ""]  # latents are (z - shift) scale (Rombach et al. 2022, Appendix G)
    shift: Float[Tensor, "width 1 1"]

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(width, 1, 1))

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the latents."""

    @abstractmethod
    def compress(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """Latents of any scale."""

    @abstractmethod
    def expand(self, latents: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images, not clamped, of what `compress` gives."""

    def encode(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """Latents in the type of the images, computed in that of the weights even under autocast.

        Raises `UserError` for images that do not fit.
        """
        channels, *size = self.image_shape
        check_images(images, channels=channels, size=(size[0], size[1]))
        with torch.autocast(images.device.type, enabled=False):
            latents = (self.compress(images.to(self.scale.dtype)) - self.shift) * self.scale
        check_finite(latents, "encoding needs finite latents", "look at the autoencoder's weights")
        return latents.to(images.dtype)

    def decode(self, latents: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1]; raises `UserError` for latents of another shape, and where NaN or infinity come out."""
        if (found := tuple(latents.shape[1:])) != self.latent_shape:
            raise UserError(f"latents must be of the shape {self.latent_shape}, got {found}; encode with this codec")
        with torch.autocast(latents.device.type, enabled=False):
            images = self.expand(latents.to(self.scale.dtype) / self.scale + self.shift)
        check_finite(images, "decoding needs finite images", "look at the autoencoder's weights")
        return images.clamp(-1, 1).to(latents.dtype)

    @torch.no_grad()
    def measure(self, batches: Iterable[Float[Tensor, "_batch c h w"]]) -> None:
        """Choose `shift` and `scale` so that latents of these images have mean 0 in each channel and variance 1.

        Raises `UserError` for images whose latents are all alike.
        """
        self.scale.fill_(1)
        self.shift.fill_(0)
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for images in batches:
            latents = self.encode(images.to(self.scale.device)).double().cpu()
            count += latents.numel() // len(self.shift)
            total = total + latents.sum((0, 2, 3))
            squares = squares + latents.square().sum((0, 2, 3))
        mean = total / max(count, 1)
        variance = (squares / max(count, 1) - mean**2).mean().item()
        if not variance > 0:
            raise UserError(
                f"latents must differ to be scaled, got {count} values per channel of variance {variance:g}; "
                "train the autoencoder, or give more images"
            )
        self.scale.fill_(variance**-0.5)
        self.shift.copy_(mean[:, None, None])

    @property
    def digest(self) -> str:
        """32 hex digits that name the config and the weights, but for the scale and the shift."""
        config = config_to_text(getattr(self, "config", None))
        digest = hashlib.blake2b(f"{type(self).__name__} {config}".encode(), digest_size=16)
        weights = (each for each in sorted(self.state_dict().items()) if each[0] not in ("scale", "shift"))
        add_to_digest(digest.update, weights)
        return digest.hexdigest()
