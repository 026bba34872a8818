"""The settings of a run of stage 2: all that moves its result, nested in groups."""

from dataclasses import dataclass, field, replace

from var import checks
from var.configs import added
from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.randomness import keyed_global_stream
from var.runs.settings import GeneratorSettings
from var.transformer import VAR, VARConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """The token maps that the transformer learns from."""

    cached: bool = True  # encode all images once, before training; else a batch at every step
    variants: int = 1  # token maps of each image in the cache: they differ by flip, crop and temperature
    temperature: float = 0.0  # above 0, codes near the nearest one are drawn too
    kept: int = added(0)  # of the finest map, in most steps, see `PartialTask`; 0: all

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.at_least(1, self, "variants")
        checks.not_negative(self, "temperature", "kept")
        checks.at_most(10**4, self, "variants", "temperature")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerRun(GeneratorSettings):
    """A transformer and how it is trained.

    The tokenizer gives the sides, the vocabulary and the code width of `transformer`, the data its number of classes.
    """

    tokens: TokenSettings = field(default_factory=TokenSettings)
    transformer: VARConfig = field(default_factory=VARConfig)
    gradient_checkpointing: bool = False  # recompute every block in the backward pass: a third slower, far less memory
    sampling: SamplingSettings = field(default_factory=SamplingSettings)  # fixed before any image was looked at
    distilled_guidance: float = added(1.0)  # what `DistillationTask` teaches trained weights to do without; 1: not used
    map_weights: tuple[float, ...] = added(())  # of the losses of the tokens of each map; empty: all alike
    label_smoothing: float = added(0.0)  # share of what is predicted that all codes have alike

    def __post_init__(self) -> None:
        GeneratorSettings.__post_init__(self)
        checks.not_negative(self, "distilled_guidance")
        checks.at_most(10**4, self, "distilled_guidance")
        checks.probability(self, "label_smoothing", below_1=True)
        maps = len(self.transformer.schedule)
        if self.map_weights and (len(self.map_weights) != maps or min(self.map_weights) <= 0):
            raise UserError(
                f"map_weights must be a positive number for each of the {maps} token maps, got {self.map_weights}; "
                "leave them empty for losses that weigh alike"
            )
        finest = self.transformer.schedule.lengths[-1]
        if self.tokens.kept == 1 or self.tokens.kept > finest:
            raise UserError(
                f"tokens.kept must be 2 to {finest}, the tokens of the finest map, got {self.tokens.kept}; leave it at "
                "0 to learn from all"
            )
        if (self.map_weights or self.tokens.kept or self.label_smoothing) and self.distilled_guidance != 1:
            raise UserError(
                "map_weights, label_smoothing and tokens.kept are of training on tokens, got "
                f"distilled_guidance={self.distilled_guidance:g} too; leave one of them out"
            )

    def for_any_maps(self) -> "TransformerRun":
        """Without what the settings say of the steps of their own token maps."""
        return replace(self, map_weights=(), tokens=replace(self.tokens, kept=0))

    def taught_guidance(self) -> "TransformerRun":
        """Without what a training on tokens has and one by `DistillationTask` has not, for samples without guidance."""
        sampling = replace(self.sampling, guidance_scale=1.0)
        return replace(self.for_any_maps(), label_smoothing=0.0, sampling=sampling)

    def model(self, *, seed: int = 0) -> VAR:
        """The untrained transformer; its weights depend on `seed` only."""
        with keyed_global_stream("transformer", seed):
            return VAR(self.transformer)
