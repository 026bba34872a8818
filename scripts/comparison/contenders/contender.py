"""What a comparison asks of a family of models: to be trained, to be sampled at a setting, and to tell what it cost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from comparison.report.processes import Process
from comparison.stages import settings_key
from var.configs import config_to_dict
from var.data.base import ImageData
from var.evaluation.report.html import Html
from var.recipes.decoder.settings import DecoderRun
from var.runs.job import Job, shown_size
from var.runs.settings import DataSettings
from var.terms import UNKNOWN, Terms
from var.text import TextEncoder, open_encoder

Row = Mapping[str, Any]

FEW = 200
"""Images of one call of a tokenizer."""


@lru_cache(maxsize=2)
def encoder_of(text: str) -> TextEncoder | None:
    """What reads the captions that a run shows, by its name; None for "", which shows none."""
    return open_encoder(text, progress=False) if text else None


def given_by(data: ImageData, settings: DataSettings) -> dict[str, int]:
    """The fields of a generator's config that follow from what it is shown."""
    return shown_size(data, settings, encoder_of(settings.text))._asdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to sample a model."""

    model: str
    sampling: Any  # the settings of its pipeline
    sampler: str  # what the report calls the way to the image
    steps: int  # of the sampler; maps of tokens count as such
    evaluations: int = 0  # of the network for an image (NFE)
    headline: bool = False

    @property
    def title(self) -> str:
        """What bars call it; settings may share it."""
        return f"{self.model} {self.sampler}-{self.steps} g={self.guidance_scale:g}"

    @property
    def key(self) -> str:
        """What the names of its stages end in; no two settings share it."""
        return f"{self.model} {settings_key(self.title, config_to_dict(self.sampling))}"

    @property
    def guidance_scale(self) -> float:
        """One number, for all scales or steps."""
        assert not isinstance(self.sampling.guidance_scale, tuple)
        return self.sampling.guidance_scale

    @property
    def guided(self) -> bool:
        """Whether guidance takes another evaluation of the network."""
        return self.guidance_scale not in (0, 1)


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """How a family is trained in a comparison, and the ways to sample it that are compared."""

    runs: dict[str, Any] = field(default_factory=dict)  # stage -> its `RunSettings`; each needs those before it
    trained: str = ""  # the folder of a model that is trained already, where there are no runs
    terms: Terms = UNKNOWN  # of what such a model was trained on, as it knows them
    steps: int  # of a call that does not say how many
    walk: Any = None  # what its settings count evaluations of the network by
    headline: Any  # sampling settings: fixed beforehand, or chosen on validation images
    sweep: tuple[Any, ...]  # others, which are shown beside it
    grid: tuple[Any, ...]  # those among which a sweep on validation images chooses


class Contender(ABC):
    """A family of models."""

    key: ClassVar[str]
    title: ClassVar[str]
    word: ClassVar[str]  # the title within a sentence
    named_only: ClassVar[bool] = False  # whether it is compared only where it is asked for
    color: ClassVar[str]  # of the palette of `var.evaluation.report.drawing`
    pipeline: ClassVar[type]  # of a trained model
    run: ClassVar[type]  # the settings of the run that leaves the first one
    network: ClassVar[str]  # the attribute of a pipeline that `run` trains
    samplers: ClassVar[Mapping[str, str]]  # what rows call the ways to an image -> mark in plots
    sampler_titles: ClassVar[Mapping[str, str]] = {}  # where it is not the name in capitals
    other_mark: ClassVar[str] = "D"  # of samplers that have none of their own
    alike: ClassVar[tuple[str, ...]]  # what rows share that a line in plots joins
    order: ClassVar[str]  # along that line
    density: ClassVar[str] = (
        "none"  # what is known of an image's probability: "exact", "bound", "by ODE", "of tokens", "none"
    )
    cannot: ClassVar[str]  # what the family does not give, after "it"

    @abstractmethod
    def presets(self) -> Collection[str]:
        """Names of the presets."""

    @abstractmethod
    def shows_captions(self, preset: str) -> bool:
        """Whether the models of a preset are told captions."""

    @abstractmethod
    def preset_shape(self, preset: str) -> tuple[int, int, int]:
        """(channels, height, width) of the images of a preset."""

    @abstractmethod
    def plan(self, preset: str, data: ImageData) -> ModelPlan:
        """The preset for `data`, whose classes, channels and size are taken; raises `UserError` if they cannot be."""

    @abstractmethod
    def plan_of(self, pipeline: Any, run: Any) -> ModelPlan:
        """How a trained model is sampled; `run` is the settings of its run, None where they are not known."""

    @abstractmethod
    def job(self, stage: str, run: Any, data: ImageData, before: Mapping[str, Path]) -> Job[Any]:
        """The training of a stage; `before` are the folders of earlier ones."""

    @abstractmethod
    def image_shape(self, pipeline: Any) -> tuple[int, int, int]:
        """(channels, height, width) of a trained model's images."""

    @abstractmethod
    def sampler(self, sampling: Any) -> str:
        """One of `samplers`."""

    @abstractmethod
    def steps(self, sampling: Any, plan: ModelPlan) -> int:
        """Network steps of an image."""

    @abstractmethod
    def evaluations(self, sampling: Any, plan: ModelPlan) -> int:
        """Evaluations of the network for an image (NFE), as the settings count them."""

    @abstractmethod
    def around(self, sampling: Any) -> tuple[Any, ...]:
        """The settings that are shown beside `sampling`."""

    def of_steps(self, sampling: Any, steps: int) -> Any | None:
        """The settings with so many steps, where each takes as long as any other; else None."""
        return None

    @abstractmethod
    def row_title(self, row: Row) -> str:
        """A sampler setting in a table: two words, the second being its guidance scale."""

    @abstractmethod
    def mark_title(self, row: Row) -> str:
        """The same beside a mark in a plot, where the colour tells the model."""

    @abstractmethod
    def about(self, row: Row, report: Any) -> str:
        """How an image comes about, in a sentence."""

    def process(self, pipeline: Any, sampling: Any, call: Mapping[str, Any]) -> Process | None:
        """How images come about, where they do in several steps."""
        return None

    def likelihoods(
        self,
        pipeline: Any,
        images: Float[Tensor, "n c h w"],
        labels: Int64[Tensor, " n"],
        levels: int,
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, " n"]]:
        """Bits per value of images of so many grey levels, in [-1, 1], by kinds of likelihood, that of `density` first.

        Continuous densities are those of images with uniform noise as wide as a level; a likelihood "of tokens" is not
        one of pixels.
        """
        return {}

    def controls(
        self, pipeline: Any, images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"], per_class: int, seed: int
    ) -> dict[str, Float[Tensor, "m c h w"]]:
        """Generators that know next to nothing, made of parts of a trained model: `per_class` images of each class."""
        return {}

    def health(
        self,
        pipeline: Any,
        train: Float[Tensor, "n c h w"],
        test: Float[Tensor, "m c h w"],
        distance: Callable[[Tensor], float],
    ) -> dict[str, Any]:
        """Numbers on a tokenizer, where there is one; `distance` is that of images in [-1, 1] to the real ones."""
        return {}

    def details(self, pipeline: Any, test: Float[Tensor, "m c h w"], report: Any) -> list[Html]:
        """What the page shows of a tokenizer, where there is one."""
        return []

    def edits(self, pipeline: Any, sampling: Any) -> bool:
        """Whether a pipeline redraws parts of images when it samples so."""
        return hasattr(pipeline, "edit")

    @classmethod
    def sampler_title(cls, sampler: str) -> str:
        """What a sampler is called where people read of it."""
        return cls.sampler_titles.get(sampler, sampler.upper())

    def told(self, sampling: Any) -> dict[str, Any]:
        """What rows say of the settings beside sampler, steps and guidance scale, where it is not as usual."""
        return {}

    def settings(self, plan: ModelPlan) -> list[Setting]:
        """The headline setting first, then the sweep."""
        return [
            self.setting(each, plan, headline=each == plan.headline)
            for each in dict.fromkeys((plan.headline, *plan.sweep))
        ]

    def setting(self, sampling: Any, plan: ModelPlan, *, headline: bool = False) -> Setting:
        """One of the settings of a plan."""
        how = {"sampler": self.sampler(sampling), "steps": self.steps(sampling, plan)}
        evaluations = self.evaluations(sampling, plan)
        return Setting(model=self.key, sampling=sampling, **how, evaluations=evaluations, headline=headline)


def shortened(run: Any, steps: int) -> Any:
    """The same run with fewer steps of training; the averaging window shrinks with it, and what is drawn for it."""
    training = run.training
    share = min(1.0, steps / training.steps)
    decay = 1 - min(1.0, (1 - training.ema_decay) / share) if training.ema_decay else 0.0
    drawn = {"samples": max(1, round(run.samples * share))} if draws(run) else {}
    return replace(run, training=replace(training, steps=steps, ema_decay=decay), **drawn)


def draws(run: Any) -> bool:
    """Whether samples of an earlier stage are drawn for this training, fewer for a shorter one."""
    return isinstance(run, DecoderRun)


def in_batches(function: Callable[[Tensor], Tensor], images: Tensor, device: Any) -> Tensor:
    """`function` of all images, on the device, `FEW` of them at once; the result is on the CPU."""
    return torch.cat([function(some.to(device)).cpu() for some in images.split(FEW)])
