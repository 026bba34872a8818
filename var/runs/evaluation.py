"""Evaluating a model in training: a picture of samples or reconstructions, and the scores of the shared evaluation."""

import logging
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.conditions import Condition
from var.data.arrays import ArrayData
from var.data.base import ConditionSize, ImageData, condition_size, conditions_at
from var.data.batches import Batch
from var.data.loading import load_images
from var.errors import UserError
from var.evaluation.features.classifier import Classifier, ClassifierConfig, train_classifier
from var.evaluation.metrics.frechet import RankDeficientWarning
from var.evaluation.metrics.reconstruction import psnr
from var.evaluation.scores import Reference, evaluate
from var.files import set_aside
from var.images import image_grid, save_png, to_uint8
from var.randomness import keyed_generator
from var.runs.session import Session
from var.runs.settings import EvaluationSettings, GeneratorSettings
from var.training import Task
from var.training.distributed import Processes

logger = logging.getLogger(__name__)

BATCH = 50  # images generated at once
JUDGE_BATCH = 50  # images of a step of the classifier's training
MEMORY = 2**25  # numbers of the images that the classifier is trained on, 128 MiB
REFERENCE = 2000  # real images at most that samples are compared with

Draw = Callable[[list[int] | Condition, list[int]], Float[Tensor, "batch c h w"]]
"""(labels, or all that images show, and seeds) -> images in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is done with a model in training now and then."""

    scores: Callable[[nn.Module, Path], dict[str, float]]  # (model, picture to write) -> numbers
    best: str  # the one by whose lowest value the best weights are kept


@dataclass(frozen=True, slots=True)
class GeneratorJudge:
    """Judges a generator by the distance of its samples to real images; without a classifier it only shows them."""

    settings: EvaluationSettings
    num_classes: int
    judge: Classifier | None
    reference: Reference | None
    shown: ImageData | None = None  # whose conditions the samples are of, where these are more than classes

    @classmethod
    def of(
        cls,
        data: ImageData,
        settings: EvaluationSettings,
        folder: Path,
        *,
        name: str,
        processes: Processes,
        progress: bool,
        shown: ImageData | None = None,
    ) -> "GeneratorJudge":
        """A judge of `data`: its classifier is trained on them once, by all `processes`, and kept in `folder`.

        Data of one class have no classifier. Where the data show more than classes, samples are of what `shown` show.
        """
        if shown is not None and condition_size(shown) == ConditionSize(len(shown.classes), 0, 0):
            shown = None
        if len(data.classes) < 2 or not settings.judge_steps or not settings.every:
            return cls(settings, len(data.classes), None, None, shown)
        judge = _classifier(data, settings, folder, name, processes, progress)
        real = to_uint8(load_images(data, spread(len(data), REFERENCE)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankDeficientWarning)
            return cls(settings, len(data.classes), judge, Reference.from_images(real, judge), shown)

    @property
    def best(self) -> str | None:
        """The name of the score by which the best weights are kept; None without a classifier."""
        return None if self.judge is None else f"fd_{self.judge.name}"

    def scores(self, draw: Draw, picture: Path) -> dict[str, float]:
        """Draw samples, the same labels and seeds every time; write some to `picture`; return the scores."""
        count = self.settings.samples if self.judge is not None else self.settings.grid
        shown, labels = self._shown(count)
        seeds = list(range(count))
        places = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
        images = torch.cat([draw(shown[some], seeds[some]).float().cpu() for some in places])
        save_grid(images[: self.settings.grid], picture)
        if self.judge is None or self.reference is None:
            return {}
        with warnings.catch_warnings():
            # Few samples make a biased distance, but the same bias every time.
            warnings.simplefilter("ignore", RankDeficientWarning)
            scores = evaluate(to_uint8(images), self.reference, self.judge, labels=labels)
        found = {
            f"fd_{self.judge.name}": scores.fd,
            "precision": scores.precision,
            "recall": scores.recall,
            "class_consistency": scores.class_consistency,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _shown(self, count: int) -> tuple[list[int] | Condition, list[int]]:
        """What `count` samples show, and their classes."""
        if self.shown is None:
            labels = [index % self.num_classes for index in range(count)]
            return labels, labels
        places = torch.linspace(0, len(self.shown) - 1, count).long()
        return conditions_at(self.shown, places), self.shown.labels[places].tolist()


@dataclass(frozen=True, slots=True)
class ReconstructionJudge:
    """Judges an autoencoder by what it makes of images that it was not trained on, if there are such."""

    settings: EvaluationSettings
    images: Float[Tensor, "n c h w"]

    @classmethod
    def of(cls, data: ImageData, settings: EvaluationSettings) -> "ReconstructionJudge":
        """A judge on the first images of `data`, evenly spread."""
        return cls(settings, load_images(data, spread(len(data), settings.samples)))

    def scores(self, reconstruct: Callable[[Tensor], Tensor], picture: Path) -> dict[str, float]:
        """Write images above their reconstructions to `picture`; return PSNR (mean over images) and squared error."""
        again = torch.cat([reconstruct(part).float().cpu() for part in self.images.split(BATCH)])
        shown = spread(len(again), self.settings.grid)
        save_pairs(self.images[shown], again[shown], picture)
        error = (again - self.images).square().mean().item()
        return {"psnr": psnr(to_uint8(self.images), to_uint8(again)).mean().item(), "squared_error": error}


@dataclass(frozen=True, slots=True)
class LossJudge:
    """Judges by the loss on the same images, labels and noise every time."""

    batches: tuple[Batch, ...]
    best: str = "evaluation_loss"

    @classmethod
    def of(cls, data: ImageData, settings: EvaluationSettings) -> "LossJudge":
        """A judge on images of `data`, evenly spread."""
        parts = spread(len(data), settings.samples).split(BATCH)
        return cls(tuple(Batch(load_images(data, some), conditions_at(data, some), some) for some in parts))

    def scores(self, task: Task, model: nn.Module) -> dict[str, float]:
        """The mean loss of `task` over the images."""
        device = next(model.parameters()).device
        total = 0.0
        for number, batch in enumerate(self.batches):
            loss, _ = task.loss(model, batch.to(device), keyed_generator("evaluation", number, device=device))
            total += loss.item() * len(batch.indices)
        return {self.best: total / sum(len(batch.indices) for batch in self.batches)}


def generator_evaluation(
    settings: GeneratorSettings,
    data: ImageData,
    judged: ImageData,
    session: Session,
    exact: Task,
    pipeline_of: Callable[[nn.Module], Callable[..., Any]],
    options: Mapping[str, Any],
) -> Evaluation:
    """A generator's loss on the images `judged`, and the distance of its samples to `data`.

    `exact` is its task without dropped labels; `pipeline_of` makes a pipeline of the model, whose call takes `options`.
    """
    source = settings.data.source
    samples = GeneratorJudge.of(
        data,
        settings.evaluation,
        session.folder.path / "judge",
        name=data_name(source),
        processes=session.processes,
        progress=session.progress,
        shown=judged,
    )
    loss = LossJudge.of(judged, settings.evaluation)

    def scores(model: nn.Module, picture: Path) -> dict[str, float]:
        pipeline = pipeline_of(model)

        def draw(shown: list[int] | Condition, seeds: list[int]) -> Tensor:
            return pipeline(shown, seeds=seeds, output_type="pt", progress=False, **options).images * 2 - 1

        return loss.scores(exact, model) | samples.scores(draw, picture)

    return Evaluation(scores, samples.best or loss.best)


def data_name(source: str) -> str:
    """A short word for the data: what distances in the features of their classifier are called after."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", Path(source).expanduser().resolve().name).strip("-") or "data"


def save_grid(images: Float[Tensor, "n c h w"], path: Path) -> None:
    """Images in [-1, 1] as one square picture."""
    columns = max(round(len(images) ** 0.5), 1)
    save_png(image_grid(images, columns, magnify=_magnification(images)), path)


def save_pairs(images: Float[Tensor, "n c h w"], others: Float[Tensor, "n c h w"], path: Path) -> None:
    """Rows of images, each above a row of `others`."""
    columns = max(round(len(images) ** 0.5), 1)
    rows = [part for pair in zip(images.split(columns), others.split(columns), strict=True) for part in pair]
    # A last row that is not full would let its pair slide into its empty places.
    full = [part for part in rows if len(part) == columns] or rows[:2]
    save_png(image_grid(torch.cat(full), len(full[0]), magnify=_magnification(images)), path)


def spread(length: int, count: int) -> Int64[Tensor, " _some"]:
    """At most `count` places, evenly spread: data lie class by class."""
    return torch.linspace(0, length - 1, min(length, count)).long()


def _magnification(images: Tensor) -> int:
    return max(64 // images.shape[-1], 1)


def _classifier(
    data: ImageData, settings: EvaluationSettings, folder: Path, name: str, processes: Processes, progress: bool
) -> Classifier:
    if processes.from_main(lambda: _is_judge(folder, data)):
        return Classifier.from_pretrained(folder)
    some = in_memory(data)
    # A batch is cut into equal parts, one per process.
    batch_size = min(max(JUDGE_BATCH, processes.count), len(some)) // processes.count * processes.count
    judge = train_classifier(
        some,
        config=judge_config(some, name),
        steps=settings.judge_steps,
        batch_size=batch_size,
        device=processes.device.type,
        progress=progress,
    )
    processes.from_main(lambda: judge.save_pretrained(folder))
    return judge.to("cpu")


def _is_judge(folder: Path, data: ImageData) -> bool:
    """Whether a classifier for `data` is there; what is damaged or for other data is set aside, with a warning."""
    if not any((folder / name).exists() for name in ("config.json", "model.safetensors")):
        return False
    try:
        config = Classifier.from_pretrained(folder).config
        found, wanted = (
            (config.channels, config.height, config.width, config.num_classes),
            (*data.shape, len(data.classes)),
        )
        if found != wanted:
            raise UserError(f"{folder} must judge images and classes {wanted}, got {found}; remove it")
    except UserError as error:
        logger.warning("%s; it is kept as %s, and the judge is trained again", error, set_aside(folder))
        return False
    return True


def in_memory(data: ImageData) -> ImageData:
    """As many images of `data`, evenly spread, as a small classifier may have at hand; large ones stay where they are.

    Decoding takes longer than training on images of 32 pixels.
    """
    channels, height, width = data.shape
    places = spread(len(data), MEMORY // (channels * height * width))
    if len(places) < min(len(data), REFERENCE):
        return data
    return ArrayData(load_images(data, places), data.labels[places], data.classes, layout="channels_first")


def judge_config(data: ImageData, name: str) -> ClassifierConfig:
    """A small classifier for images of any size: strides until the side is about 4."""
    channels, height, width = data.shape
    shrinkings = max(round(torch.tensor(min(height, width) / 4).log2().item()), 1)
    widths = [min(24 * 2**level, 64) for level in range(max(shrinkings, 3))]
    strides = [2 if level < shrinkings else 1 for level in range(len(widths))]
    return ClassifierConfig(
        name=name,
        channels=channels,
        height=height,
        width=width,
        num_classes=len(data.classes),
        widths=(*widths, 64),
        strides=(*strides, 1),
        activation="gelu",
    )
