"""The settings of a run of the baseline: all that moves its result."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from diffusion_baseline.diffusion import Prediction
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.unet import UNet, UNetConfig
from var.errors import UserError
from var.randomness import keyed_global_stream
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class DiffusionRun:
    """Everything that training and sampling need to know: the settings of a run."""

    data: DataSettings = field(default_factory=DataSettings)
    unet: UNetConfig
    training: TrainingConfig
    schedule: Literal["cosine", "linear"] = "cosine"
    num_timesteps: int = 1000
    prediction: Prediction = "v"
    label_drop: float = 0.1  # probability of training an image without its label
    guidance_scale: float = 1.5  # with which samples are drawn
    sampling_steps: int = 50  # of DDIM, with which samples are drawn in between
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.label_drop <= 1:
            raise UserError(f"label_drop is a probability and must lie in [0, 1], got {self.label_drop}; correct it")
        for name in ("num_timesteps", "sampling_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}; raise it")

    def pipeline(self, class_names: Sequence[str] | None = None, *, seed: int = 0) -> DiffusionPipeline:
        """Build the untrained pipeline, for these classes if they are given; its weights depend on `seed` only."""
        config = self.unet if class_names is None else replace(self.unet, num_classes=len(class_names))
        with keyed_global_stream("unet", seed):
            unet = UNet(config)
        return DiffusionPipeline(
            unet,
            schedule=self.schedule,
            num_timesteps=self.num_timesteps,
            prediction=self.prediction,
            class_names=class_names,
        )
