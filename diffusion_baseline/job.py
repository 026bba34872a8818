"""`python -m diffusion_baseline train`: from the command line's options to a run."""

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.settings import DiffusionRun
from diffusion_baseline.task import DiffusionTask
from diffusion_baseline.unet import UNet, UNetConfig
from var.command_line.run_options import assignments
from var.data.base import ImageData
from var.errors import UserError
from var.runs.class_rows import kept_rows
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import GeneratorJudge, LossJudge, data_name, held_out
from var.runs.overrides import overridden
from var.runs.plan import Network, Plan
from var.runs.session import Prepared, Session, open_training_data
from var.runs.settings import DataSettings
from var.training import Task
from var.training.optimization import optimizer_flops


class DiffusionJob:
    """Training of a U-Net, new or from that of the pipeline `start`."""

    kind = "diffusion"

    def __init__(
        self,
        settings: DiffusionRun,
        data: ImageData,
        *,
        start: DiffusionPipeline | None = None,
        init: str | None = None,
    ) -> None:
        _check_fit(settings.unet, data, start)
        self.settings = settings
        self.data = data
        self.start = start
        self.init = init

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "DiffusionJob":
        """As the options say; loads, for fine-tuning, the pipeline to start from."""
        run = diffusion_run(arguments.preset)
        start = None
        if arguments.init is not None:
            start = DiffusionPipeline.from_pretrained(arguments.init)
            saved = start.settings()
            run = replace(
                run,
                unet=replace(start.unet.config, dropout=run.unet.dropout),
                **{name: saved[name] for name in ("schedule", "num_timesteps", "prediction")},
            )
        # What decides on the shape of the images may be overridden, so it is read before the data are.
        run = overridden(run, files=arguments.files, assignments=assignments(arguments))
        shape = (run.unet.image_channels, *run.unet.size)
        data = open_training_data(DataSettings(source=arguments.data), arguments, shape)
        run = replace(
            run,
            unet=replace(run.unet, num_classes=len(data.classes)),
            data=replace(run.data, source=arguments.data),
        )
        return cls(run, data, start=start, init=arguments.init)

    def facts(self) -> dict[str, Any]:
        """Where the training started."""
        return {"init": self.init}

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        with torch.device("meta"):
            unet = UNet(settings.unet)
        return Plan(
            title=f"{self.kind} in {settings.training.mixed_precision.replace('no', 'float32')}",
            networks=(Network(name="U-Net", parameters=sum(weight.numel() for weight in unet.parameters())),),
            data=f"{settings.data.source}, {'x'.join(map(str, self.data.shape[1:]))}",
            images=len(self.data),
            classes=len(self.data.classes),
            tokens=None,
            image_cost=unet_cost(unet, settings),
            optimizer_flops=optimizer_flops(unet, settings.training),
            training=settings.training,
            processes=processes,
        )

    def prepare(self, session: Session) -> Prepared:
        """Build the pipeline, train the judge."""
        settings = self.settings
        pipeline = self._pipeline(session)
        judge = GeneratorJudge.of(
            self.data,
            settings.evaluation,
            session.folder.path / "judge",
            name=data_name(settings.data.source),
            processes=session.processes,
            progress=session.progress,
        )
        loss = LossJudge.of(held_out(settings.data.source, self.data, session.on_bad_image), settings.evaluation)
        exact = DiffusionTask(pipeline, label_drop=0.0)

        def draw(labels: list[int], seeds: list[int]) -> Tensor:
            images = pipeline(
                labels,
                guidance_scale=settings.guidance_scale,
                num_inference_steps=min(settings.sampling_steps, settings.num_timesteps),
                seeds=seeds,
                output_type="pt",
                progress=False,
            ).images
            return images * 2 - 1

        def look(model: nn.Module, picture: Path) -> dict[str, float]:
            return loss.look(exact, model) | judge.look(draw, picture)

        task = DiffusionTask(pipeline, label_drop=settings.label_drop)
        return Prepared(task=task, data=self.data, look=look, best=judge.best or loss.best)

    def _pipeline(self, session: Session) -> DiffusionPipeline:
        settings, names = self.settings, self.data.classes
        pipeline = settings.pipeline(names, seed=settings.training.seed)
        if self.start is not None:
            rows, words = kept_rows(self.start.class_names, names, self.start.unet.config.num_classes)
            session.say(words)
            state = self.start.unet.state_dict()
            state["label.weight"] = state["label.weight"][rows]
            pipeline.unet.load_state_dict(state)
        return pipeline

    def save(self, task: Task, folder: Path) -> str:
        """Save the pipeline."""
        assert isinstance(task, DiffusionTask)
        task.pipeline.save_pretrained(folder)
        return f"saved a DiffusionPipeline: python -m diffusion_baseline generate --model {folder}"


def unet_cost(unet: UNet, settings: DiffusionRun) -> Cost:
    """A training pass of one image; `unet` is on the meta device."""
    config = unet.config
    unet.train().to(torch.bfloat16 if settings.training.mixed_precision == "bf16" else torch.float32)
    image = torch.zeros(1, config.image_channels, *config.size, device="meta")
    whole = torch.zeros(1, dtype=torch.long, device="meta")
    return cost_of(unet, lambda: unet(image, whole, whole).square().mean())


def _check_fit(config: UNetConfig, data: ImageData, start: DiffusionPipeline | None) -> None:
    if config.num_classes != len(data.classes):
        raise UserError(
            f"unet.num_classes is given by the data, {len(data.classes)}, got {config.num_classes}; leave it out"
        )
    if start is None:
        return
    for field in fields(UNetConfig):
        given, trained = getattr(config, field.name), getattr(start.unet.config, field.name)
        if field.name not in ("num_classes", "dropout") and given != trained:
            raise UserError(
                f"unet.{field.name} is fixed by the weights to start from, {trained}, got {given}; leave it out"
            )
