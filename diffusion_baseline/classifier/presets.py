"""The runs of the classifier as a table; each is for the images and the noise of the U-Net of the same name.

| preset | trained here | hyperparameters |
|---|---|---|
| digits | yes, on a CPU | found here |
| shapes-32 | no | those of digits, for larger images |
| unet-64 | no | those for ImageNet at 64 pixels of Dhariwal & Nichol 2021, Table 12, a third as wide |
"""

from dataclasses import replace

from diffusion_baseline.classifier.model import NoisyClassifierConfig
from diffusion_baseline.classifier.settings import NoisyClassifierRun
from var.errors import chosen
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import TrainingConfig

_DIGITS = NoisyClassifierRun(
    classifier=NoisyClassifierConfig(
        num_classes=10,
        image_size=8,
        image_channels=1,
        base_channels=32,
        multipliers=(1, 2),
        embedding_width=64,
        norm_groups=8,
    ),
    training=TrainingConfig(
        steps=1000, batch_size=64, learning_rate=2e-3, weight_decay=0.05, warmup=0.05, ema_decay=0.998
    ),
    evaluation=EvaluationSettings(every=500),
)

PRESETS: dict[str, NoisyClassifierRun] = {
    "digits": _DIGITS,
    "shapes-32": replace(
        _DIGITS,
        classifier=NoisyClassifierConfig(
            num_classes=12, base_channels=24, multipliers=(1, 2, 2), embedding_width=128, norm_groups=8
        ),
        training=replace(_DIGITS.training, steps=1500, batch_size=32),
    ),
    "unet-64": NoisyClassifierRun(
        data=DataSettings(flip=0.5),
        classifier=NoisyClassifierConfig(
            num_classes=1000,
            image_size=64,
            multipliers=(1, 2, 3, 4),
            residual_blocks=4,
            attention_levels=(2, 3),
            embedding_width=512,
        ),
        training=TrainingConfig(
            steps=300_000, batch_size=1024, learning_rate=6e-4, weight_decay=0.05, warmup=0.0033, ema_decay=0.9999
        ),
        evaluation=EvaluationSettings(every=10_000, samples=1000),
        checkpoints=CheckpointSettings(every=2000),
    ),
}
"""The run of each classifier, by its name."""


def classifier_run(name: str) -> NoisyClassifierRun:
    """The run of the preset `name`; raises `UserError` with suggestions for an unknown one."""
    return chosen(name, PRESETS, "classifier preset")
