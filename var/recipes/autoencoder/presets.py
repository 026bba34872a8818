"""The autoencoders as a table.

| preset | trained here | hyperparameters |
|---|---|---|
| shapes-32 | yes, on a CPU, one seed: 39.4 dB on held-out images | those of the tokenizer |
| shapes-text-32 | yes, on a CPU, one seed: 36.5 dB | those of shapes-32, for smaller networks |
| digits, emoji-32 | a few steps only; no | those of the tokenizers |
"""

from dataclasses import replace

from var.autoencoder import AutoencoderConfig
from var.errors import chosen
from var.recipes.autoencoder.losses import AutoencoderLosses
from var.recipes.autoencoder.settings import AutoencoderRun
from var.recipes.vqvae.presets import PRESETS as TOKENIZERS

_DIGITS, _SHAPES, _EMOJI = (TOKENIZERS[name] for name in ("digits", "shapes-32", "emoji-32"))
_SHAPES_32 = AutoencoderRun(
    autoencoder=AutoencoderConfig(
        image_size=32,
        base_channels=16,
        channel_multipliers=(1, 2, 4),
        residual_blocks=1,
        attention=False,
        norm_groups=0,
        zero_init=True,
        width=4,
    ),
    losses=AutoencoderLosses(kl=1e-4),
    training=_SHAPES.training,
    evaluation=_SHAPES.evaluation,
    checkpoints=_SHAPES.checkpoints,
)

PRESETS: dict[str, AutoencoderRun] = {
    "digits": AutoencoderRun(
        autoencoder=AutoencoderConfig(
            image_size=8,
            in_channels=1,
            base_channels=16,
            channel_multipliers=(1, 2),
            residual_blocks=1,
            attention=False,
            norm_groups=8,
            width=4,
        ),
        losses=AutoencoderLosses(kl=1e-3),
        training=replace(_DIGITS.training, steps=650),
        evaluation=replace(_DIGITS.evaluation, every=325),
    ),
    "shapes-32": _SHAPES_32,
    # A fifth of the parameters, for the wheel: 36.5 dB for 37.3 after 900 steps of shapes-32.
    "shapes-text-32": replace(
        _SHAPES_32,
        autoencoder=replace(_SHAPES_32.autoencoder, base_channels=12, channel_multipliers=(1, 2, 2)),
        training=replace(_SHAPES_32.training, steps=1100),
    ),
    "emoji-32": replace(_SHAPES_32, training=_EMOJI.training, evaluation=_EMOJI.evaluation),
}
"""The run of each autoencoder, by its name."""


def autoencoder_run(name: str) -> AutoencoderRun:
    """The run of the preset `name`; raises `UserError` with suggestions for an unknown one."""
    return chosen(name, PRESETS, "autoencoder preset")
