"""Presets of the baseline, and the task that trains it.

| preset | trained here | hyperparameters |
|---|---|---|
| digits, shapes-32 | yes, on a CPU; the README has the results | found here |
| unet-32 | no | those for CIFAR-10 of Ho et al. 2020, Appendix B, with classes |
| unet-64 | no | those for ImageNet at 64 pixels of Dhariwal & Nichol 2021, Table 11, two thirds as wide |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from diffusion_baseline.diffusion import Prediction, simplified_loss
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.unet import UNet, UNetConfig
from var.data.batches import Batch
from var.errors import UserError, suggestion
from var.randomness import keyed_global_stream
from var.runs.parts import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import TrainingConfig
from var.training.label_drop import drop_labels


class DiffusionTask:
    """Train the network of a pipeline with the pipeline's own schedule and kind of prediction.

    Args:
        pipeline: what is trained; its network becomes `model`.
        label_drop: probability of training with the null label, which classifier-free guidance needs.
    """

    def __init__(self, pipeline: DiffusionPipeline, label_drop: float = 0.1):
        if not 0 <= label_drop <= 1:
            raise UserError(f"label_drop is a probability and must lie in [0, 1], got {label_drop}; correct it")
        self.model = pipeline.unet
        self.pipeline = pipeline
        self.label_drop = label_drop

    def loss(
        self, model: torch.nn.Module, batch: Batch, generator: Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Return the simplified loss, with timesteps, noise and dropped labels drawn from `generator`."""
        images, schedule = batch.images, self.pipeline.schedule
        device = images.device
        timesteps = torch.randint(schedule.num_timesteps, (len(images),), generator=generator, device=device)
        noise = torch.randn(images.shape, generator=generator, device=device)
        labels = drop_labels(batch.labels, self.label_drop, self.pipeline.unet.config.num_classes, generator)

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return model(x, t, labels)

        losses = simplified_loss(denoise, images, noise, timesteps, schedule, self.pipeline.prediction)
        return losses.mean(), {}


@dataclass(frozen=True, kw_only=True)
class Preset:
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


PRESETS: dict[str, Preset] = {
    "digits": Preset(
        unet=UNetConfig(
            num_classes=10,
            image_size=8,
            image_channels=1,
            base_channels=32,
            multipliers=(1, 2),
            residual_blocks=1,
            attention_levels=(),
            head_width=32,
            embedding_width=64,
            norm_groups=8,
        ),
        training=TrainingConfig(
            steps=1200,
            batch_size=64,
            optimizer="muon",
            learning_rate=8e-3,
            betas=(0.9, 0.99),
            weight_decay=0.0,
            ema_decay=0.998,
        ),
        guidance_scale=1.1,
        evaluation=EvaluationSettings(every=600, samples=500),
    ),
    "shapes-32": Preset(
        unet=UNetConfig(
            num_classes=12,
            image_size=32,
            base_channels=24,
            multipliers=(1, 2, 2),
            residual_blocks=1,
            attention_levels=(2,),
            head_width=48,
            embedding_width=128,
            norm_groups=8,
        ),
        training=TrainingConfig(
            steps=1700,
            batch_size=16,
            optimizer="muon",
            learning_rate=8e-3,
            betas=(0.9, 0.99),
            weight_decay=0.0,
            ema_decay=0.998,
        ),
        sampling_steps=20,
        evaluation=EvaluationSettings(every=850, judge_steps=900),
        checkpoints=CheckpointSettings(every=100),
    ),
    "unet-32": Preset(
        data=DataSettings(flip=0.5),
        unet=UNetConfig(num_classes=10, image_size=32, multipliers=(1, 2, 2, 2), attention_levels=(1,), dropout=0.1),
        training=TrainingConfig(
            steps=400_000,
            batch_size=128,
            learning_rate=2e-4,
            betas=(0.9, 0.999),
            weight_decay=0.0,
            warmup=0.0125,
            schedule="constant",
            clip_norm=1.0,
            ema_decay=0.9999,
        ),
        evaluation=EvaluationSettings(every=10_000, samples=1000, grid=64, judge_steps=2000),
        checkpoints=CheckpointSettings(every=2000),
    ),
    "unet-64": Preset(
        data=DataSettings(flip=0.5),
        unet=UNetConfig(
            num_classes=1000, image_size=64, multipliers=(1, 2, 3, 4), attention_levels=(2, 3), dropout=0.1
        ),
        training=TrainingConfig(
            steps=540_000,
            batch_size=128,
            learning_rate=1e-4,
            betas=(0.9, 0.999),
            weight_decay=0.0,
            warmup=0.01,
            schedule="constant",
            clip_norm=1.0,
            ema_decay=0.9999,
        ),
        evaluation=EvaluationSettings(every=10_000, samples=64, grid=64, judge_steps=0),
        checkpoints=CheckpointSettings(every=2000),
    ),
}


def preset(name: str) -> Preset:
    """Look a preset up; an unknown name is a `UserError`."""
    if name not in PRESETS:
        raise UserError(f"unknown diffusion preset {name!r}; {suggestion(name, PRESETS)}")
    return PRESETS[name]
