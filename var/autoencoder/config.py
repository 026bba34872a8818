"""Configuration of autoencoders."""

from dataclasses import dataclass
from typing import Literal

from var import checks
from var.configs import added
from var.errors import UserError

MOST_LEVELS = 12
"""Each halves the picture."""


class Convolutions:
    """What the encoder and the decoder read of a config, which has these fields."""

    __slots__ = ()
    in_channels: int
    base_channels: int
    channel_multipliers: tuple[int, ...]
    residual_blocks: int
    attention: bool
    norm_groups: int
    dropout: float
    width: int
    encoder: Literal["convolutions", "patches"]

    @property
    def level_channels(self) -> list[int]:
        """Channels of every level, highest resolution first."""
        return [self.base_channels * multiplier for multiplier in self.channel_multipliers]

    @property
    def downsampling(self) -> int:
        """Pixels of the image that one side of a latent position covers."""
        return 2 ** (len(self.channel_multipliers) - 1)


def check_levels(config: Convolutions) -> None:
    """Raise `UserError` for levels that cannot be."""
    multipliers, groups = config.channel_multipliers, config.norm_groups
    if len(multipliers) > MOST_LEVELS:
        raise UserError(f"channel_multipliers must be at most {MOST_LEVELS}, got {len(multipliers)}; lower them")
    if not multipliers or min(multipliers) < 1:
        raise UserError(f"channel_multipliers must be positive, one per level, got {multipliers}")
    if groups < 0:
        raise UserError(f"norm_groups must be 0 (no normalisation) or more, got {groups}; correct it")
    odd = [channels for channels in (config.base_channels, *config.level_channels) if groups and channels % groups]
    if odd:
        raise UserError(f"channels must be divisible by norm_groups={groups}, got {odd[0]}; change base_channels")


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderConfig(Convolutions):
    """Architecture of an `Autoencoder`."""

    image_size: int | tuple[int, int] = 32  # (height, width) in pixels; an int is a square
    in_channels: int = 3  # of the images
    base_channels: int = 64  # of the first level
    channel_multipliers: tuple[int, ...] = (1, 2, 4)  # one per level; the resolution halves between levels
    residual_blocks: int = 2  # per level, one more in the decoder
    attention: bool = True  # at the lowest resolution
    norm_groups: int = 32  # of every GroupNorm; 0 leaves them out: flat images lose their level in them
    dropout: float = 0.0  # in the residual blocks
    zero_init: bool = False  # residual branches begin as nothing, so that deep stacks learn faster from the start
    width: int = 4  # channels of the latent
    variational: bool = True  # the encoder tells a mean and a variance; else one latent, as for a quantiser
    encoder: Literal["convolutions", "patches"] = added("convolutions")  # all over the image, or each patch alone

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.at_least(1, self, "in_channels", "base_channels", "residual_blocks", "width")
        checks.at_most(2**14, self, "image_size", "in_channels", "base_channels", "width", "norm_groups")
        checks.at_most(2**10, self, "residual_blocks", "channel_multipliers")
        check_levels(self)
        checks.share(self, "dropout")
        if min(self.size) < 1 or any(side % self.downsampling for side in self.size):
            raise UserError(
                f"image_size must be a multiple of {self.downsampling} for {len(self.channel_multipliers)} levels, got "
                f"{self.image_size}; change the size or give fewer channel_multipliers"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size
