"""The settings of a run of stage 1: all that moves its result, nested in groups."""

from dataclasses import dataclass, field

from var.randomness import keyed_global_stream
from var.recipes.vqvae.losses import VQVAELosses
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import TrainingConfig
from var.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class VQVAERun:
    """A tokenizer and how it is trained."""

    data: DataSettings = field(default_factory=DataSettings)
    vqvae: VQVAEConfig = field(default_factory=VQVAEConfig)
    losses: VQVAELosses = field(default_factory=VQVAELosses)
    training: TrainingConfig
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)

    def model(self, *, seed: int = 0) -> VQVAE:
        """The untrained tokenizer; its weights depend on `seed` only."""
        with keyed_global_stream("vqvae", seed):
            return VQVAE(self.vqvae)
