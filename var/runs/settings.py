"""The settings that every run has, whatever it trains, in groups."""

from dataclasses import dataclass, field

from var.checks import at_least, at_most, fields, probability
from var.configs import added
from var.data.augment import Augmentation, Compose, HorizontalFlip, RandomAffine, RandomCrop, Shift
from var.errors import UserError
from var.training import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which images are trained on, and how they are varied."""

    source: str = ""  # what `var.data.open_data` opens; DATA on the command line
    flip: float = 0.0  # probability of the mirror image
    crop: float = 1.0  # images are made this much larger than needed and cropped at random; 1 takes the centre
    shift: int = added(0)  # most pixels that images are moved by along each axis; the border is repeated
    affine: float = added(0.0)  # most that four in five images are shifted (in widths), turned, zoomed and sheared
    text: str = added("")  # the encoder of captions, which the model is shown, by its name such as "minilm"; "" is none
    class_labels: bool = added(True)  # whether the class is shown beside the text
    text_sequence: bool = added(False)  # whether the model also attends to its first 64 pieces, kept in 16 bits each

    def __post_init__(self) -> None:
        fields(self)
        if not (self.text or self.class_labels):
            raise UserError("class_labels must be true where no text is shown, got false; set data.text too")
        if self.text_sequence and not self.text:
            raise UserError("text_sequence needs a text to attend to, got none; set data.text too")
        probability(self, "flip")
        at_least(0, self, "affine", "shift")
        at_most(1, self, "affine")
        at_most(16, self, "crop")
        at_most(10**4, self, "shift")
        if self.crop < 1:
            raise UserError(f"crop must be 1 (the centre) or more, got {self.crop}; 1.125 is usual")

    def augmentation(self) -> Augmentation | None:
        """What changes the training images, if anything does."""
        steps: list[Augmentation] = []
        if self.crop > 1:
            steps.append(RandomCrop(self.crop))
        if self.shift > 0:
            steps.append(Shift(self.shift))
        if self.affine > 0:
            steps.append(RandomAffine(self.affine))
        if self.flip > 0:
            steps.append(HorizontalFlip(self.flip))
        return Compose(steps) if steps else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How the averaged weights are evaluated while training goes on, which changes nothing in the training."""

    every: int = 1000  # steps between two evaluations; 0 is none
    samples: int = 240  # images that are generated (or reconstructed) and judged
    grid: int = 36  # of them in the picture in samples/
    judge_steps: int = 600  # training of the classifier that judges labelled data; 0 does without one

    def __post_init__(self) -> None:
        fields(self)
        at_least(0, self, "every", "judge_steps")
        at_least(1, self, "grid")
        at_least(2, self, "samples")
        at_most(10**9, self, "every")
        at_most(10**6, self, "samples", "judge_steps")
        at_most(10**4, self, "grid")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSettings:
    """When the run is saved, to go on from there after an interruption."""

    every: int = 500  # steps between two checkpoints
    keep: int = 2  # newest ones that stay

    def __post_init__(self) -> None:
        fields(self)
        at_least(1, self, "every")
        at_least(2, self, "keep")  # one may turn out to be damaged
        at_most(10**9, self, "every", "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """All that moves the result of a run; every kind of run adds its model."""

    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingConfig
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)

    def __post_init__(self) -> None:
        fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSettings(RunSettings):
    """A run of a model that makes images of classes."""

    label_drop: float = 0.1  # probability of training an image without its label

    def __post_init__(self) -> None:
        fields(self)
        probability(self, "label_drop")
