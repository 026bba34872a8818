"""The settings of a run of stage 3: all that moves its result, nested in groups."""

from dataclasses import dataclass, field

from var import checks
from var.generation.sampling_settings import SamplingSettings
from var.recipes.decoder.losses import DecoderLosses
from var.runs.settings import RunSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderRun(RunSettings):
    """How the decoder of a trained pipeline is trained on."""

    losses: DecoderLosses = field(default_factory=DecoderLosses)
    samples: int = 4000  # images whose tokens the pipeline draws before the training
    drawing: SamplingSettings = field(default_factory=SamplingSettings)  # of these; the pipeline's own, if it has any

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.at_least(1, self, "samples")
        checks.at_most(10**7, self, "samples")
