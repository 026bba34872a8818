"""The settings of a run of stage 1: all that moves its result, nested in groups."""

from dataclasses import dataclass, field

from var.randomness import keyed_global_stream
from var.recipes.vqvae.losses import VQVAELosses
from var.runs.settings import RunSettings
from var.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class VQVAERun(RunSettings):
    """A tokenizer and how it is trained."""

    vqvae: VQVAEConfig = field(default_factory=VQVAEConfig)
    losses: VQVAELosses = field(default_factory=VQVAELosses)

    def model(self, *, seed: int = 0) -> VQVAE:
        """The untrained tokenizer; its weights depend on `seed` only."""
        with keyed_global_stream("vqvae", seed):
            return VQVAE(self.vqvae)
