"""What all small families share, so that a file of its own has only what is particular to one.

A family is a subclass of `Family` with a network (see `comparison.families.model`), and an entry in the table of this
package. It is trained by the one loop, for the seconds that the comparison gives to each.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from comparison.contenders.contender import Contender, ModelPlan, Row
from comparison.contenders.var import VARContender
from comparison.data import grey_levels
from comparison.families.job import FamilyJob, FamilyRun, FamilyTask
from comparison.families.job import trained as trained
from comparison.families.model import FamilyNetwork, ImageConfig, Sampling
from comparison.families.pipeline import FamilyPipeline
from var.data.base import ImageData, condition_size
from var.errors import UserError
from var.runs.job import Job
from var.runs.settings import CheckpointSettings
from var.training import Task, TrainingConfig

PRESETS = VARContender()
"""Whose presets say the shape of the images; what they say of models is not for these families."""


class Family(Contender):
    """A family of one network that is trained in one stage, of which a subclass says what is particular."""

    pipeline = FamilyPipeline
    run = FamilyRun
    network = "network"
    alike = ("sampler",)
    order = "guidance_scale"

    # What a family says of itself, beside key, title and color.
    network_class: ClassVar[type[FamilyNetwork]]
    how: ClassVar[str]  # how an image comes about, in a sentence
    training: ClassVar[TrainingConfig]  # its steps are those of `STEPS`; the seconds decide on them
    label_drop: ClassVar[float] = 0.0  # of families that can be guided
    guidance: ClassVar[tuple[float, ...]] = (1.0,)  # scales that are compared, the headline's first
    temperatures: ClassVar[tuple[float, ...]] = (1.0,)  # likewise
    mark: ClassVar[str] = "o"  # in plots

    def __init_subclass__(cls) -> None:
        cls.word = cls.__dict__.get("word", cls.title)
        cls.samplers = {cls.named(temperature): cls.mark for temperature in cls.temperatures}

    @classmethod
    def named(cls, temperature: float) -> str:
        """What rows call the way to an image, one word."""
        return cls.title.replace(" ", "-") + ("" if temperature == 1 else f"-T{temperature:g}")

    def config(self, image: ImageConfig) -> ImageConfig:
        """The network's config for such images, whose fields it takes."""
        return self.network_class.config_class(**self.image_fields(image))

    @staticmethod
    def image_fields(image: ImageConfig) -> dict[str, int]:
        """The fields that every config has, to be passed on with a family's own."""
        return {name: getattr(image, name) for name in ("channels", "height", "width", "num_classes", "levels")}

    def task(self, network: FamilyNetwork, run: FamilyRun, before: Mapping[str, Path]) -> Task:
        """What is minimised."""
        return FamilyTask(network, run.label_drop)

    def passes(self, config: Any) -> int:
        """Network evaluations of an image without guidance."""
        return 1

    def stages(self, preset: str, data: ImageData) -> dict[str, Any]:
        """The runs before the network's own, such as that of a tokenizer."""
        return {}

    def pipeline_of(self, network: nn.Module, classes: Sequence[str], before: Mapping[str, Path]) -> FamilyPipeline:
        """The trained network, and what is needed beside it."""
        return self.pipeline(network, class_names=classes)

    def presets(self) -> Collection[str]:
        """Those that are not told captions."""
        return [name for name in PRESETS.presets() if not PRESETS.shows_captions(name)]

    def shows_captions(self, preset: str) -> bool:
        """None does."""
        return False

    def preset_shape(self, preset: str) -> tuple[int, int, int]:
        """As the preset's other models have it."""
        return PRESETS.preset_shape(preset)

    def plan(self, preset: str, data: ImageData) -> ModelPlan:
        """The network for the data; raises `UserError` for data that show more than classes."""
        if condition_size(data) != (len(data.classes), 0, 0):
            raise UserError(f"{self.title} is shown classes only, got data that show vectors; leave it out of --models")
        channels, height, width = data.shape
        size = {"channels": channels, "height": height, "width": width, "num_classes": len(data.classes)}
        config = self.config(ImageConfig(**size, levels=grey_levels(data)))
        run = FamilyRun(
            family=self.key,
            network=config,
            label_drop=self.label_drop,
            training=self.training,
            checkpoints=CheckpointSettings(every=100),
        )
        headline = Sampling(guidance_scale=self.guidance[0], temperature=self.temperatures[0])
        settings = self.around(headline)
        return ModelPlan(
            runs={**self.stages(preset, data), self.key: run},
            steps=self.passes(config),
            headline=headline,
            sweep=settings,
            grid=settings,
        )

    def plan_of(self, pipeline: Any, run: Any) -> ModelPlan:
        """None: families are trained where they are compared."""
        raise NotImplementedError

    def job(self, stage: str, run: Any, data: ImageData, before: Mapping[str, Path]) -> Job[Any]:
        """The training of the network."""
        return FamilyJob(settings=run, data=data, family=self, before=before)

    def image_shape(self, pipeline: FamilyPipeline) -> tuple[int, int, int]:
        """Of the network."""
        return pipeline.network.config.shape

    def sampler(self, sampling: Sampling) -> str:
        """By its title, and the temperature."""
        return self.named(sampling.temperature)

    def steps(self, sampling: Sampling, plan: ModelPlan) -> int:
        """As many as the network needs, whatever the settings."""
        return plan.steps

    def evaluations(self, sampling: Sampling, plan: ModelPlan) -> int:
        """Twice as many with guidance."""
        return plan.steps * (1 if sampling.guidance_scale in (0, 1) else 2)

    def around(self, sampling: Sampling) -> tuple[Sampling, ...]:
        """Every guidance scale, and every temperature."""
        guided = [replace(sampling, guidance_scale=scale) for scale in self.guidance]
        return tuple(dict.fromkeys([*guided, *(replace(sampling, temperature=each) for each in self.temperatures)]))

    def row_title(self, row: Row) -> str:
        """As in "VAE g=1"."""
        return f"{row['sampler']} g={row['guidance_scale']:g}"

    def mark_title(self, row: Row) -> str:
        """The same, without guidance where there is none."""
        return row["sampler"] if row["guidance_scale"] == 1 else self.row_title(row)

    def about(self, row: Row, report: Any) -> str:
        """As the family says."""
        return self.how

    def likelihoods(
        self, pipeline: FamilyPipeline, images: Tensor, labels: Tensor, levels: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Of the one kind that the family says."""
        if self.density == "none":
            return {}
        return {self.density: pipeline.bits_per_dimension(images, labels, generator)}
