"""Configuration of the multi-scale tokenizer."""

from dataclasses import dataclass
from typing import Literal

from var import checks
from var.autoencoder.config import Convolutions, check_levels
from var.configs import added
from var.errors import UserError
from var.scales import ScaleSchedule, Side, check_scales, schedule_of


@dataclass(frozen=True, slots=True, kw_only=True)
class VQVAEConfig(Convolutions):
    """Architecture of a VQVAE; the defaults are those of the published 256 px tokenizer (arXiv 2404.02905)."""

    sides: tuple[Side, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)  # of the token maps, coarse to fine
    in_channels: int = 3  # of the images
    base_channels: int = 160  # of the first level
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # one per level; the resolution halves between levels
    residual_blocks: int = 2  # per level, one more in the decoder
    attention: bool = True  # at the lowest resolution
    norm_groups: int = 32  # of every GroupNorm; 0 leaves them out: flat images lose their level in them
    dropout: float = 0.0  # in the residual blocks
    zero_init: bool = False  # residual branches begin as nothing, so that deep stacks learn faster from the start
    width: int = 32  # of a latent vector and of a code
    vocabulary: int = 4096  # codes in the codebook, which all scales share
    phi: int | Literal["per-scale"] = 4  # number of phi convolutions, spread over the scales; or one for each
    phi_ratio: float = 0.5  # r in phi(h) = (1 - r) h + r conv(h)
    normalize_codes: bool = False  # look codes up by cosine instead of squared distance
    commitment: float = 0.25  # beta, weight of the pull of the encoder towards the codes
    codebook: Literal["gradient", "ema"] = "gradient"  # how the codes are learned
    codebook_decay: float = 0.99  # of the running cluster means ("ema") and of the usage statistics
    kmeans_init: bool = False  # place the codes by k-means on the first training batch
    restart_below: float = 0.0  # replace a code that fewer vectors per step than this choose; 0 never does
    scale_dropout: float = 0.0  # share of the training images that are decoded from their first few scales only
    repeats: tuple[int, ...] = added((), of="sides")  # maps of each side, see `ScaleSchedule`
    encoder: Literal["convolutions", "patches"] = added("convolutions")  # all over the image, or each patch alone
    pooling: Literal["mean", "median"] = added("mean")  # of all latents into a map of one token
    blank: float = added(0.0)  # share of the codes' mean square by which code 0, all zeros, may be too far; 0: no such

    def __post_init__(self) -> None:
        checks.fields(self)
        object.__setattr__(self, "sides", ScaleSchedule(self.sides, self.repeats).sides)
        checks.at_least(1, self, "in_channels", "base_channels", "residual_blocks", "width")
        checks.at_most(2**14, self, "in_channels", "base_channels", "width", "norm_groups")
        checks.at_most(2**10, self, "residual_blocks", "channel_multipliers")
        checks.at_most(2**24, self, "vocabulary")
        checks.not_negative(self, "commitment")
        checks.share(self, "phi_ratio")
        check_scales(self.schedule)
        if self.vocabulary < 2:
            raise UserError(f"vocabulary must hold at least 2 codes, got {self.vocabulary}; raise it")
        check_levels(self)
        if self.phi != "per-scale" and not 1 <= self.phi <= 2**10:
            raise UserError(f"phi must be at least 1 or 'per-scale', got {self.phi!r}; {2**10} are the most")
        checks.share(self, "scale_dropout", "dropout", "codebook_decay")
        if self.restart_below < 0:
            raise UserError(f"restart_below must be 0 (never) or more, got {self.restart_below}; correct it")
        checks.share(self, "blank")
        if self.blank and (self.codebook != "ema" or self.normalize_codes):
            raise UserError(
                f'a blank code keeps its place in codebooks of running means (codebook="ema") that are not normalised, '
                f"got {self.codebook!r}, normalize_codes={self.normalize_codes}; change them, or set blank to 0"
            )
        if self.scale_dropout and len(self.schedule) == 1:
            raise UserError(
                f"scale_dropout leaves out finer scales, of which sides={self.sides} has none, "
                f"got {self.scale_dropout}; set it to 0"
            )

    @property
    def schedule(self) -> ScaleSchedule:
        """The scales of the token maps."""
        return schedule_of(self.sides, tuple(self.repeats))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels: the finest token map times the downsampling."""
        height, width = self.schedule.shapes[-1]
        return height * self.downsampling, width * self.downsampling
