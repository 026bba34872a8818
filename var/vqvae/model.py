"""The multi-scale VQ autoencoder: images to token maps and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.autoencoder import Autoencoder, AutoencoderConfig
from var.autoencoder.initialization import initialize
from var.autoencoder.networks import Decoder, encoder_of, latent_convolution
from var.errors import UserError
from var.images import check_images
from var.sampling.finite import check_finite
from var.tokenizer import Tokenizer
from var.vqvae.config import VQVAEConfig
from var.vqvae.quantizer import MultiScaleQuantizer, Quantized


@dataclass(frozen=True, slots=True, kw_only=True)
class VQVAEOutput:
    """Result of a training pass."""

    reconstruction: Float[Tensor, "batch c h w"]  # not clamped
    latent: Float[Tensor, "batch width _h _w"]  # what the decoder was given; gradients pass to the encoder
    quantization_loss: Float[Tensor, ""]
    token_maps: list[Int64[Tensor, "batch _h _w"]]
    entropies: tuple[Float[Tensor, ""], Float[Tensor, ""]] | None  # see `Codebook.entropies`; None if not asked for
    usage: Float[Tensor, " scales"]  # share of the codes in use over recent steps
    perplexity: Float[Tensor, " scales"]  # of the distribution of codes over recent steps


class VQVAE(Tokenizer):
    """Multi-scale VQ autoencoder (arXiv 2404.02905, Section 3.2)."""

    config_class = VQVAEConfig
    config: VQVAEConfig

    @torch.inference_mode(False)  # its weights may enter autograd, wherever it is built
    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder_of(config)
        self.quant_conv = latent_convolution(config)
        self.quantizer = MultiScaleQuantizer(config)
        self.post_quant_conv = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.decoder = Decoder(config)
        initialize(self, self.quantizer.phi, zero_init=config.zero_init)

    def latent(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """The continuous latent before quantisation, in the precision of the weights even under autocast."""
        return self.quant_conv(self.encoder(images)).to(self.quant_conv.weight.dtype)

    def encode(
        self, images: Float[Tensor, "batch c h w"], *, temperature: float = 0, generator: torch.Generator | None = None
    ) -> list[Int64[Tensor, "batch _h _w"]]:
        """See `Tokenizer.encode`, and `Codebook.nearest` for `temperature`.

        Draws give the transformer many token maps of one image to learn from.
        """
        check_images(images, channels=self.config.in_channels, size=self.config.image_size)
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature must be a finite number from 0 on, got {temperature}; 0 draws nothing")
        with torch.autocast(images.device.type, enabled=False):
            latent = self.latent(images.to(self.quant_conv.weight.dtype))
            check_finite(latent, "encoding needs finite latents", "look at the tokenizer's weights")
            return self.quantizer.encode(latent, temperature, generator)

    def decoding(self) -> Sequence[nn.Module]:
        """The convolution after quantisation, and the decoder."""
        return self.post_quant_conv, self.decoder

    def accumulating(self) -> MultiScaleQuantizer:
        """The quantiser."""
        return self.quantizer

    def codes(self, scale: int) -> Float[Tensor, "vocabulary width"]:
        """The codebook, which all scales share."""
        return self.quantizer.codes(scale)

    def expand(self, codes: Float[Tensor, "batch width _h _w"], scale: int) -> Float[Tensor, "batch width h w"]:
        """See `MultiScaleQuantizer.expand`."""
        return self.quantizer.expand(codes, scale)

    def shrink(self, latent: Float[Tensor, "batch width h w"], scale: int) -> Float[Tensor, "batch width _h _w"]:
        """See `MultiScaleQuantizer.shrink`."""
        return self.quantizer.shrink(latent, scale)

    def forward(
        self,
        images: Float[Tensor, "batch c h w"],
        generator: torch.Generator | None = None,
        entropy_temperature: float | None = None,
        quantize: bool = True,
    ) -> VQVAEOutput:
        """A training pass; in training mode the codebook learns from it (see `Codebook.observe`).

        Without `quantize` the decoder sees the latent itself: no tokens, no quantisation loss, nothing observed.
        """
        latent = self.latent(images)
        quantized = Quantized(latent=latent, loss=latent.new_zeros(()), token_maps=[], entropies=None)
        if quantize:
            with torch.autocast(images.device.type, enabled=False):
                quantized = self.quantizer(latent, generator, entropy_temperature)
        usage, perplexity = self.quantizer.codebook.statistics()
        return VQVAEOutput(
            reconstruction=self.decoder(self.post_quant_conv(quantized.latent)),
            latent=quantized.latent,
            quantization_loss=quantized.loss,
            token_maps=quantized.token_maps,
            entropies=quantized.entropies,
            usage=usage,
            perplexity=perplexity,
        )

    def codec(self) -> Autoencoder:
        """The encoder and the decoder alone, around the continuous latent, with copies of the weights.

        A diffusion model then works in the latent space that the tokens of this one are of.
        """
        shared = {field.name for field in fields(AutoencoderConfig)} & {field.name for field in fields(self.config)}
        chosen = {name: getattr(self.config, name) for name in shared}
        codec = Autoencoder(AutoencoderConfig(image_size=self.config.image_size, variational=False, **chosen))
        weights = self.state_dict()
        codec.load_state_dict({name: weights.get(name, value) for name, value in codec.state_dict().items()})
        return codec.to(self.device).eval()

    def continue_from(self, trained: "VQVAE") -> None:
        """Take up the weights of a tokenizer of the same shape, which may have learnt its codes in another way.

        The running statistics that `trained` does not have begin at its codes. Raises `UserError` if shapes differ.
        """
        given, own = trained.state_dict(), self.state_dict()
        codes = given["quantizer.codebook.weight"]
        begin = {
            "quantizer.codebook.cluster_size": torch.ones_like(codes[:, 0]),
            "quantizer.codebook.cluster_sum": codes,
        }
        weights = {name: value for name, value in (begin | given).items() if name in own or name not in begin}
        if {name: value.shape for name, value in weights.items()} != {name: value.shape for name, value in own.items()}:
            raise UserError(
                f"trained weights fit tokenizers of the same shape only, got {trained.config} for {self.config}; "
                "use the config of the trained one"
            )
        self.load_state_dict(weights)
