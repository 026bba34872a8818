"""The settings of a run of an autoencoder: all that moves its result, nested in groups."""

from dataclasses import dataclass, field

from var.autoencoder import Autoencoder, AutoencoderConfig
from var.randomness import keyed_global_stream
from var.recipes.autoencoder.losses import AutoencoderLosses
from var.runs.settings import RunSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderRun(RunSettings):
    """An autoencoder and how it is trained."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    losses: AutoencoderLosses = field(default_factory=AutoencoderLosses)

    def model(self, *, seed: int = 0) -> Autoencoder:
        """The untrained autoencoder; its weights depend on `seed` only."""
        with keyed_global_stream("autoencoder", seed):
            return Autoencoder(self.autoencoder)
