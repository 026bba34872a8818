"""The decoders as a table.

| preset | trained here | hyperparameters |
|---|---|---|
| digits, emoji-32 | yes, on a CPU; docs/results.md has the results | found here |
| emoji-64 | yes, once | those of emoji-32, for smaller batches |
"""

from dataclasses import replace

from var.errors import chosen
from var.recipes.decoder.losses import DecoderLosses
from var.recipes.decoder.settings import DecoderRun
from var.runs.settings import CheckpointSettings, EvaluationSettings
from var.training import TrainingConfig

_EMOJI_32 = DecoderRun(
    training=TrainingConfig(
        steps=250,
        batch_size=32,
        learning_rate=1e-3,
        betas=(0.0, 0.99),
        weight_decay=0.0,
        warmup=0.1,
        clip_norm=1.0,
        ema_decay=0.99,
    ),
    evaluation=EvaluationSettings(every=250, judge_steps=900),
    checkpoints=CheckpointSettings(every=100),
)

_DIGITS = replace(
    _EMOJI_32,
    losses=DecoderLosses(patch_layers=1),
    training=replace(_EMOJI_32.training, steps=300),
    evaluation=EvaluationSettings(every=300, samples=500),
)

_EMOJI_64 = replace(
    _EMOJI_32,
    training=replace(_EMOJI_32.training, steps=200, batch_size=16),
    evaluation=replace(_EMOJI_32.evaluation, every=200),
)

PRESETS: dict[str, DecoderRun] = {"digits": _DIGITS, "emoji-32": _EMOJI_32, "emoji-64": _EMOJI_64}
"""The run of each decoder, by its name."""


def decoder_run(name: str) -> DecoderRun:
    """The run of the preset `name`; raises `UserError` with suggestions for an unknown one."""
    return chosen(name, PRESETS, "decoder preset")
