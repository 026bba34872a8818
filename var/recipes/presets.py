"""Presets: everything that training and sampling a VAR need to know, apart from the data."""

from dataclasses import dataclass, field, replace

from var.errors import UserError, suggestion
from var.generation import VARPipeline
from var.randomness import keyed_global_stream
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.settings import SamplingDefaults
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.presets import vqvae_run
from var.training import TrainingConfig
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A tokenizer and a transformer with the way to train them."""

    vqvae: VQVAEConfig
    vqvae_losses: VQVAELosses = field(default_factory=VQVAELosses)
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


PRESETS = {
    "digits": ("digits", "digits"),
    "shapes-32": ("shapes-32", "shapes-32"),
    "cifar-32": ("cifar-32", "cifar-32"),
    "imagenet-64": ("imagenet-64", "imagenet-64"),
    "imagenet-256": ("imagenet-256", "d16"),
    "imagenet-512": ("imagenet-512", "d36"),
}
"""The tokenizer and the transformer of each preset, by their names in the tables of both."""


def preset(name: str) -> Preset:
    """The preset `name`; raises ValueError with suggestions for an unknown one."""
    if name not in PRESETS:
        raise UserError(f"unknown VAR preset {name!r}; {suggestion(name, PRESETS)}")
    first, second = vqvae_run(PRESETS[name][0]), transformer_run(PRESETS[name][1])
    return Preset(
        vqvae=first.vqvae,
        vqvae_losses=first.losses,
        vqvae_training=first.training,
        transformer=second.transformer,
        transformer_training=second.training,
        label_drop=second.label_drop,
        token_variants=second.tokens.variants,
        token_temperature=second.tokens.temperature,
        sampling=second.sampling,
    )


def shortened(config: TrainingConfig, steps: int) -> TrainingConfig:
    """The same training in fewer steps, for a first look; the averaging window shrinks with it."""
    decay = 1 - min(1.0, (1 - config.ema_decay) * config.steps / steps) if config.ema_decay else 0.0
    return replace(config, steps=steps, ema_decay=decay)
