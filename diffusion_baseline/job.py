"""`python -m diffusion_baseline train`: from the command line's options to a run."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffusion_baseline.cascade import enlarge
from diffusion_baseline.codecs import check_codec, encoding_cost, latent_size, measure, open_codec
from diffusion_baseline.other_kinds import sent_on
from diffusion_baseline.output import DiffusionOutput
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.settings import DiffusionRun
from diffusion_baseline.super_resolution import Enlarging, shrunken
from diffusion_baseline.task import DiffusionTask
from diffusion_baseline.unet import UNet
from var.autoencoder import LatentCodec
from var.conditions import Condition
from var.data.base import ImageData, condition_size
from var.data.loading import load_images
from var.errors import UserError
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import generator_evaluation
from var.runs.fine_tuning import check_encoder, check_fixed, take_over
from var.runs.job import Job, Prepared, check_given, configured, open_text_encoder, open_training_data, shown_size
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.terms import Terms
from var.training import Task

Places = tuple[ImageData, list[int]]
"""Some images of a set, by their indices."""

FREE = ("num_classes", "dropout")
"""Fields of a network's config that trained weights do not fix."""


@dataclass(frozen=True, kw_only=True)
class DiffusionJob(Job[DiffusionRun]):
    """Training of a U-Net, new or from that of the pipeline `start`."""

    kind = "diffusion"
    start: DiffusionPipeline | None = None
    codec: LatentCodec | None = None

    def __post_init__(self) -> None:
        unet = self.settings.unet
        check_codec(self.codec, unet, latent=self.settings.latent)
        check_encoder(self.start.settings().get("text_encoder") if self.start else None, self.encoder)
        check_given("unet", unet, self.shown._asdict())
        if self.start is not None:
            check_fixed("unet", unet, self.start.unet.config, FREE)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "DiffusionJob":
        """As the options say; loads, for fine-tuning, the pipeline to start from."""
        run = diffusion_run(arguments.preset)
        start = None
        if arguments.init is not None:
            with sent_on(arguments.init):
                start = DiffusionPipeline.from_pretrained(arguments.init)
            saved, fixed = start.settings(), ("schedule", "num_timesteps", "zero_terminal", "prediction")
            run = replace(
                run,
                unet=replace(start.unet.config, dropout=run.unet.dropout),
                **{name: saved[name] for name in fixed if name in saved},
            )
            run = replace(run, latent=start.codec is not None)
        # What decides on the shape of the images may be overridden, so it is read before the data are.
        preset, run = run.unet, configured(run, arguments)
        codec = _codec(getattr(arguments, "codec", None), start, run)
        shape = (run.unet.image_channels, *run.unet.size) if codec is None else codec.image_shape
        data = open_training_data(arguments, shape, run.data)
        encoder = open_text_encoder(arguments, run.data)
        size = shown_size(data, run.data, encoder)._asdict() | ({} if codec is None else latent_size(codec))
        # What the user gives stays, to be refused if it is wrong.
        size = {name: each for name, each in size.items() if getattr(run.unet, name) == getattr(preset, name)}
        run = replace(run, unet=replace(run.unet, **size))
        return cls(settings=run, data=data, start=start, codec=codec, init=arguments.init, encoder=encoder)

    def facts(self) -> dict[str, Any]:
        """The codec, by a digest of its weights, and where the training started."""
        return {**super().facts(), **({} if self.codec is None else {"codec": self.codec.digest})}

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        with torch.device("meta"):
            unet = UNet(settings.unet)
        cost, codecs = unet_cost(unet, settings), ()
        if self.codec is not None:
            cost, codecs = cost + encoding_cost(self.codec), (Network.of("autoencoder", self.codec, trained=False),)
        return self.planned(unet, processes, networks=(Network.of("U-Net", unet), *codecs), image_cost=cost)

    def prepare(self, session: Session) -> Prepared:
        """Build the pipeline, train the judge."""
        settings = self.settings
        pipeline = self._pipeline(session)
        data, judged = self.with_texts(session)
        exact = DiffusionTask(pipeline, label_drop=0.0, interval_share=settings.interval_share)
        options = settings.sampling.keywords()
        draw = pipeline
        if settings.unet.small_size and settings.evaluation.every:
            draw = partial(_enlarge_shown, pipeline, judged, _small_of(judged, data), settings.evaluation.samples)
        return Prepared(
            task=DiffusionTask(
                pipeline,
                settings.label_drop,
                loss_weight=settings.loss_weight,
                timestep_density=settings.timestep_density,
                interval_share=settings.interval_share,
            ),
            data=data,
            evaluation=generator_evaluation(settings, data, judged, session, exact, lambda _: draw, options),
        )

    def _pipeline(self, session: Session) -> DiffusionPipeline:
        names = self.shown_classes
        codec = None if self.codec is None else self.codec.to(session.processes.device)
        if codec is not None and self.start is None:  # a trained network knows the scale that it was trained with
            measure(codec, self.data)
        pipeline = self.settings.pipeline(names, seed=self.settings.training.seed, codec=codec)
        if self.encoder is not None:
            pipeline.text_encoder = self.encoder
        if self.start is not None:
            session.say(take_over(pipeline.unet, self.start.unet, "label.weight", self.start.class_names, names))
        return pipeline

    def save(self, task: Task, folder: Path) -> str:
        """Save the pipeline."""
        assert isinstance(task, DiffusionTask)
        task.pipeline.sampling = self.settings.sampling
        task.pipeline.terms = Terms.of(self.data)
        task.pipeline.save_pretrained(folder, card=self.card())
        return f"saved a DiffusionPipeline: python -m diffusion_baseline generate --model {folder}"


def unet_cost(unet: UNet, settings: DiffusionRun) -> Cost:
    """A training pass of one image; `unet` is on the meta device."""
    config = unet.config
    unet.train().to(torch.bfloat16 if settings.training.mixed_precision == "bf16" else torch.float32)
    image = torch.zeros(1, config.image_channels, *config.size, device="meta")
    timestep = torch.zeros(1, dtype=torch.long, device="meta")
    shown = Condition.nothing(1, config.vector_width, config.sequence_width).to("meta")
    if config.small_size:
        shown = Enlarging.made_of(shown, torch.zeros(1, config.image_channels, *config.small, device="meta"), timestep)
    return cost_of(unet, lambda: unet(image, timestep, shown).square().mean())


def _enlarge_shown(
    pipeline: DiffusionPipeline,
    data: ImageData,
    of_class: Sequence[Places],
    count: int,
    shown: list[int] | Condition,
    *,
    seeds: Sequence[int],
    **keywords: Any,
) -> DiffusionOutput:
    """Enlarge images of `data` that show what is asked for, without noise, to judge a network that enlarges.

    Beside a label stands the image `of_class` that the seed counts to; beside a condition the one that it is of, where
    `count` of them are spread over the data. `keywords` and errors as for `DiffusionPipeline`.
    """
    if isinstance(shown, Condition):
        images = load_images(data, torch.linspace(0, len(data) - 1, count).long()[list(seeds)])
    else:
        mine = [of_class[label] for label in shown]
        pairs = zip(mine, seeds, strict=True)
        images = torch.stack([of.load(places[seed % len(places)]) for (of, places), seed in pairs])
    small = shrunken(images, pipeline.unet.config.small)
    return enlarge(pipeline, small, shown, augmentation=0.0, seeds=seeds, **keywords)


def _small_of(judged: ImageData, data: ImageData) -> list[Places]:
    """The images of each class that are shown small: those that are judged, of a class without such those of `data`.

    Raises `UserError` for a class of which there is no image at all; data that show more than classes need none.
    """
    if condition_size(judged) != (len(judged.classes), 0, 0):
        return []
    found = []
    for label, name in enumerate(judged.classes):
        own = ((each, (each.labels == label).nonzero().flatten().tolist()) for each in (judged, data))
        some = next((each for each in own if each[1]), None)
        if some is None:
            raise UserError(
                f"what enlarges is judged by images of every class, got none of {name!r}, held out or trained on; add "
                "some, leave the class out, or set evaluation.every=0"
            )
        found.append(some)
    return found


def _codec(source: str | None, start: DiffusionPipeline | None, run: DiffusionRun) -> LatentCodec | None:
    """The codec of the weights to start from, or the one that `source` names, before the data are opened."""
    started_with = start.codec if start else None
    if source is not None and started_with is not None:
        raise UserError(f"the weights to start from bring their codec, got --codec {source} too; leave it out")
    codec = started_with if source is None else open_codec(source)
    if (codec is None) == run.latent:
        check_codec(codec, run.unet, latent=run.latent)
    return codec
