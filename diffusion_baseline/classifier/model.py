"""A classifier of noisy images, which knows how noisy they are (Dhariwal & Nichol 2021, Section 4)."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from diffusion_baseline.schedules import NoiseLevels, named_schedule
from diffusion_baseline.unet import Downsample, Stage, UNetConfig, timestep_features
from var import checks
from var.errors import UserError
from var.hub import PretrainedModel


@dataclass(frozen=True, kw_only=True)
class NoisyClassifierConfig:
    """Size and shape of a `NoisyClassifier`, as those of a U-Net, and the noise that it knows."""

    num_classes: int
    class_names: tuple[str, ...] = ()  # one for each label; none where they are not known
    image_size: int | tuple[int, int] = 32  # (height, width) in pixels; an int is a square
    image_channels: int = 3
    base_channels: int = 64  # width at the finest level
    multipliers: tuple[int, ...] = (1, 2, 2, 2)  # width of each level, in base channels
    residual_blocks: int = 1  # per level
    attention_levels: tuple[int, ...] = ()  # levels with self-attention
    head_width: int = 64  # channels of an attention head
    embedding_width: int = 256  # of the timestep
    norm_groups: int = 32  # of every GroupNorm
    dropout: float = 0.0  # before the second convolution of each residual block
    schedule: str = "cosine"  # or linear, straight: what makes images noisy
    num_timesteps: int = 1000  # T
    zero_terminal: bool = False  # nothing of the image is left at the end of the schedule

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.at_least(2, self, "num_classes")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise UserError(
                f"{self.num_classes} classes need a name each, got {len(self.class_names)}; give all or none"
            )
        _ = self.levels, self.trunk  # which check the rest

    @property
    def levels(self) -> NoiseLevels:
        """The noise schedule."""
        with torch.device("cpu"):  # a plan is made with all else on the meta device
            return named_schedule(self.schedule, self.num_timesteps, zero_terminal=self.zero_terminal)

    @property
    def trunk(self) -> UNetConfig:
        """The U-Net whose way down this is."""
        shared = {each.name for each in fields(UNetConfig)} & {each.name for each in fields(self)}
        return UNetConfig(**{name: getattr(self, name) for name in shared})


class NoisyClassifier(PretrainedModel, nn.Module):
    """Logits of the class of a noisy image x_t: the way down of the U-Net, then the mean over places."""

    config_class: ClassVar[type] = NoisyClassifierConfig
    package = "diffusion_baseline"

    @torch.inference_mode(False)  # its weights may enter autograd, wherever it is built
    def __init__(self, config: NoisyClassifierConfig) -> None:
        super().__init__()
        self.config = config
        trunk, now = config.trunk, config.trunk.widths[0]
        self.time = nn.Sequential(nn.Linear(trunk.embedding_width, trunk.embedding_width), nn.SiLU())
        self.stem = nn.Conv2d(trunk.image_channels, now, 3, padding=1)
        down: list[nn.Module] = []
        for level, width in enumerate(trunk.widths):
            if level > 0:
                down.append(Downsample(now))
            for _ in range(trunk.residual_blocks):
                down.append(Stage(now, width, trunk, attention=level in trunk.attention_levels))
                now = width
        self.down = nn.ModuleList(down)
        self.norm = nn.GroupNorm(trunk.norm_groups, now)
        self.head = nn.Linear(now, config.num_classes)
        self.levels = config.levels
        self.to(memory_format=torch.channels_last)  # the layout in which convolutions are fastest

    def facts(self) -> dict[str, Any]:
        """What a pipeline that is guided by it must have in common with it; None where that is not known."""
        config = self.config
        noise = {name: getattr(config, name) for name in ("schedule", "num_timesteps", "zero_terminal")}
        images = {"image_size": config.trunk.size, "image_channels": config.image_channels}
        classes = {"num_classes": config.num_classes, "class_names": config.class_names or None}
        return {**classes, **images, **noise, "device": str(self.head.weight.device)}

    def forward(
        self, x: Float[Tensor, "batch c h w"], timesteps: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Logits of the classes of x_t = `x`."""
        dtype = self.stem.weight.dtype
        condition = self.time(timestep_features(timesteps, self.config.embedding_width).to(dtype))
        h = self.stem(x.to(dtype))
        for stage in self.down:
            h = stage(h) if isinstance(stage, Downsample) else stage(h, condition)
        features = F.silu(self.norm(h)).mean(dim=(2, 3))
        # log p(y | x_t) depends on x_t by the signal in it. A gradient that did not vanish with the signal would be as
        # much as it is too large in the predicted image: on a cosine schedule, thousands of times in the first step.
        signal, _ = self.levels.signal_and_noise(timesteps, features)
        return signal * F.linear(features, self.head.weight) + self.head.bias
