"""The settings of a run of stage 2: all that moves its result, nested in groups."""

from dataclasses import dataclass, field

from var.errors import UserError
from var.randomness import keyed_global_stream
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings
from var.training import TrainingConfig
from var.transformer import VAR, VARConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """How a preset's images are drawn; fixed before any of them was looked at."""

    guidance_scale: float = 1.5
    guidance_schedule: str = "linear"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """The token maps that the transformer learns from."""

    cached: bool = True  # encode all images once, before training; else a batch at every step
    variants: int = 1  # token maps kept of each image: they differ by flip, crop and temperature
    temperature: float = 0.0  # above 0, codes near the nearest one are drawn too

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise UserError(f"variants must be at least 1, got {self.variants}; raise it")
        if self.temperature < 0:
            raise UserError(f"temperature must be 0 or more, got {self.temperature}; raise it")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerRun:
    """A transformer and how it is trained.

    The tokenizer gives the sides, the vocabulary and the code width of `transformer`, the data its number of classes.
    """

    data: DataSettings = field(default_factory=DataSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    transformer: VARConfig = field(default_factory=VARConfig)
    training: TrainingConfig
    label_drop: float = 0.1  # probability of training an image without its label
    gradient_checkpointing: bool = False  # recompute every block in the backward pass: a third slower, far less memory
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.label_drop <= 1:
            raise UserError(f"label_drop is a probability and must lie in [0, 1], got {self.label_drop}; correct it")

    def model(self, *, seed: int = 0) -> VAR:
        """The untrained transformer; its weights depend on `seed` only."""
        with keyed_global_stream("transformer", seed):
            return VAR(self.transformer)
