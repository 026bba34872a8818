"""Presets: everything that training and sampling a VAR need to know, apart from the data."""

from dataclasses import dataclass, field, replace

from var.errors import UserError, suggestion
from var.generation import VARPipeline
from var.randomness import keyed_global_stream
from var.training import TrainingConfig
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """How a preset's images are drawn; fixed before any of them was looked at."""

    guidance_scale: float = 1.5
    guidance_schedule: str = "linear"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A tokenizer and a transformer with the way to train them."""

    vqvae: VQVAEConfig
    vqvae_training: TrainingConfig
    transformer: VARConfig
    transformer_training: TrainingConfig
    label_drop: float = 0.1
    token_variants: int = 1  # token maps drawn of each image before stage 2; see `TokenCache`
    token_temperature: float = 0.0
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)

    def build_vqvae(self, seed: int) -> VQVAE:
        """The untrained tokenizer; its weights depend on `seed` only."""
        with keyed_global_stream("vqvae", seed):
            return VQVAE(self.vqvae)

    def build_transformer(self, seed: int) -> VAR:
        """The untrained transformer; its weights depend on `seed` only."""
        with keyed_global_stream("transformer", seed):
            return VAR(self.transformer)

    def pipeline(self, seed: int = 0) -> VARPipeline:
        """The untrained pipeline."""
        return VARPipeline(self.build_vqvae(seed), self.build_transformer(seed))


def _digits() -> Preset:
    # Tokens of one map are drawn independently of each other, so that small steps between the maps pay: with these six
    # the distance was lower than with (1, 2, 3, 4) at the same training time (one seed, two judges).
    sides = (1, (1, 2), 2, (2, 3), 3, 4)
    return Preset(
        vqvae=VQVAEConfig(
            sides=sides,
            in_channels=1,
            base_channels=16,
            channel_multipliers=(1, 2),
            residual_blocks=1,
            attention=False,
            norm_groups=8,
            width=8,
            vocabulary=128,
            codebook="ema",
            kmeans_init=True,
            restart_below=0.05,
        ),
        vqvae_training=TrainingConfig(
            steps=650, batch_size=64, learning_rate=4e-3, weight_decay=0.01, clip_norm=1.0, ema_decay=0.995
        ),
        transformer=VARConfig(
            sides=sides,
            vocabulary=128,
            code_width=8,
            num_classes=10,
            depth=3,
            width=96,
            heads=2,
            activation="gelu",
            l2_attention=False,
            shared_adaln=True,
        ),
        transformer_training=TrainingConfig(steps=1100, batch_size=32, learning_rate=4e-3, ema_decay=0.999),
        token_variants=8,
        token_temperature=0.15,
        sampling=SamplingDefaults(guidance_scale=1.1, guidance_schedule="constant"),
    )


PRESETS = {"digits": _digits}
"""The function that makes each preset, by its name."""


def preset(name: str) -> Preset:
    """The preset `name`; raises ValueError with suggestions for an unknown one."""
    if name not in PRESETS:
        raise UserError(f"unknown VAR preset {name!r}; {suggestion(name, PRESETS)}")
    return PRESETS[name]()


def shortened(config: TrainingConfig, steps: int) -> TrainingConfig:
    """The same training in fewer steps, for a first look; the averaging window shrinks with it."""
    decay = 1 - min(1.0, (1 - config.ema_decay) * config.steps / steps) if config.ema_decay else 0.0
    return replace(config, steps=steps, ema_decay=decay)
