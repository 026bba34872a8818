"""`python -m diffusion_baseline train`: from the command line's options to a run."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.settings import DiffusionRun
from diffusion_baseline.task import DiffusionTask
from diffusion_baseline.unet import UNet
from var.conditions import Condition
from var.errors import UserError
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import generator_evaluation
from var.runs.fine_tuning import check_encoder, check_fixed, take_over
from var.runs.job import Job, Prepared, configured, open_text_encoder, open_training_data, shown_size
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.training import Task
from var.training.optimization import optimizer_flops

FREE = ("num_classes", "dropout")
"""Fields of a network's config that trained weights do not fix."""


@dataclass(frozen=True, kw_only=True)
class DiffusionJob(Job[DiffusionRun]):
    """Training of a U-Net, new or from that of the pipeline `start`."""

    kind = "diffusion"
    start: DiffusionPipeline | None = None

    def __post_init__(self) -> None:
        unet = self.settings.unet
        check_encoder(self.start.settings().get("text_encoder") if self.start else None, self.encoder)
        for name, wanted in self.shown._asdict().items():
            if (found := getattr(unet, name)) != wanted:
                raise UserError(f"unet.{name} is given by the data, {wanted}, got {found}; leave it out")
        if self.start is not None:
            check_fixed("unet", unet, self.start.unet.config, FREE)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "DiffusionJob":
        """As the options say; loads, for fine-tuning, the pipeline to start from."""
        run = diffusion_run(arguments.preset)
        start = None
        if arguments.init is not None:
            start = DiffusionPipeline.from_pretrained(arguments.init)
            saved, fixed = start.settings(), ("schedule", "num_timesteps", "zero_terminal", "prediction")
            run = replace(
                run,
                unet=replace(start.unet.config, dropout=run.unet.dropout),
                **{name: saved[name] for name in fixed if name in saved},
            )
        # What decides on the shape of the images may be overridden, so it is read before the data are.
        preset, run = run.unet, configured(run, arguments)
        data = open_training_data(arguments, (run.unet.image_channels, *run.unet.size), run.data)
        encoder = open_text_encoder(arguments, run.data)
        size = shown_size(data, run.data, encoder)._asdict()
        # What the user gives stays, to be refused if it is wrong.
        size = {name: each for name, each in size.items() if getattr(run.unet, name) == getattr(preset, name)}
        run = replace(run, unet=replace(run.unet, **size))
        return cls(settings=run, data=data, start=start, init=arguments.init, encoder=encoder)

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        with torch.device("meta"):
            unet = UNet(settings.unet)
        return Plan(
            kind=self.kind,
            settings=settings,
            data=self.data,
            networks=(Network.of("U-Net", unet),),
            image_cost=unet_cost(unet, settings),
            optimizer_flops=optimizer_flops(unet, settings.training),
            processes=processes,
        )

    def prepare(self, session: Session) -> Prepared:
        """Build the pipeline, train the judge."""
        settings = self.settings
        pipeline = self._pipeline(session)
        data, judged = self.with_texts(session)
        exact = DiffusionTask(pipeline, label_drop=0.0)
        options = settings.sampling.keywords()
        return Prepared(
            task=DiffusionTask(pipeline, label_drop=settings.label_drop),
            data=data,
            evaluation=generator_evaluation(settings, data, judged, session, exact, lambda _: pipeline, options),
        )

    def _pipeline(self, session: Session) -> DiffusionPipeline:
        names = self.shown_classes
        pipeline = self.settings.pipeline(names, seed=self.settings.training.seed)
        if self.encoder is not None:
            pipeline.text_encoder = self.encoder
        if self.start is not None:
            session.say(take_over(pipeline.unet, self.start.unet, "label.weight", self.start.class_names, names))
        return pipeline

    def save(self, task: Task, folder: Path) -> str:
        """Save the pipeline."""
        assert isinstance(task, DiffusionTask)
        task.pipeline.save_pretrained(folder, card=self.card())
        return f"saved a DiffusionPipeline: python -m diffusion_baseline generate --model {folder}"


def unet_cost(unet: UNet, settings: DiffusionRun) -> Cost:
    """A training pass of one image; `unet` is on the meta device."""
    config = unet.config
    unet.train().to(torch.bfloat16 if settings.training.mixed_precision == "bf16" else torch.float32)
    image = torch.zeros(1, config.image_channels, *config.size, device="meta")
    timestep = torch.zeros(1, dtype=torch.long, device="meta")
    shown = Condition.nothing(1, config.vector_width, config.sequence_width).to("meta")
    return cost_of(unet, lambda: unet(image, timestep, shown).square().mean())
