"""The settings of a run of the classifier: all that moves its result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffusion_baseline.classifier.model import NoisyClassifier, NoisyClassifierConfig
from var.randomness import keyed_global_stream
from var.runs.settings import RunSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyClassifierRun(RunSettings):
    """The classifier and how it is trained; the data give the names of its classes."""

    classifier: NoisyClassifierConfig

    def model(self, class_names: Sequence[str], *, seed: int = 0) -> NoisyClassifier:
        """The untrained classifier of these classes; its weights depend on `seed` only."""
        with keyed_global_stream("noisy classifier", seed):
            return NoisyClassifier(
                replace(self.classifier, num_classes=len(class_names), class_names=tuple(class_names))
            )
