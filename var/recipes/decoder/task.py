"""Training of a decoder on drawn tokens: a discriminator compares what comes out of them with images."""

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from var.data.batches import Batch
from var.errors import UserError
from var.recipes.decoder.losses import DecoderLosses
from var.recipes.vqvae.reconstruction import ReconstructionTask
from var.tokenizer import Tokenizer
from var.training.task import Numbers


class DecoderTask(ReconstructionTask):
    """Decode drawn tokens into what a discriminator takes for images, and the tokens of images into these.

    Trains what `tokenizer.decoding()` gives, in place; `drawn` are tokens of all scales. Encoder and codes stand still,
    so that the transformer's tokens mean what they meant. Raises `UserError` as `ReconstructionTask` does, and for a
    tokenizer that decodes without weights.
    """

    losses: DecoderLosses

    def __init__(
        self,
        tokenizer: Tokenizer,
        drawn: Int64[Tensor, "drawn length"],
        losses: DecoderLosses | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        config = tokenizer.config
        decoder = nn.Sequential(*tokenizer.decoding()).requires_grad_(True)
        weights = [weight for weight in decoder.parameters() if weight.dim() > 1]
        if not weights:
            raise UserError(
                f"a decoder that is trained must have weights, got none in a {type(tokenizer).__name__}; there is "
                "nothing to train in it"
            )
        super().__init__(decoder, losses or DecoderLosses(), (config.in_channels, *config.image_size), seed=seed)
        self.drawn = drawn
        self._last_layer = weights[-1]

    def loss(self, model: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """The error of reconstructions, and what the discriminator says of drawn images."""
        images = batch.images
        rows = torch.randint(len(self.drawn), (len(images),), generator=generator, device=images.device)
        own, drawn = self._latents(images, self.drawn[rows.to(self.drawn.device)].to(images.device))
        reconstruction, made = model(torch.cat((own, drawn))).split(len(images))
        return self.judged(reconstruction, batch, self._last_layer, generator, shown=made.clamp(-1, 1))

    @torch.no_grad()
    def _latents(
        self, images: Float[Tensor, "batch c h w"], tokens: Int64[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch width _h _w"], Float[Tensor, "batch width _h _w"]]:
        """Accumulated latents of images, and of tokens."""
        tokenizer = self.tokenizer.to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            maps = tokenizer.encode(images), tokenizer.scales.split(tokens)
            own, drawn = (tokenizer.accumulate(each)[-1] for each in maps)
            return own, drawn
