"""`var train autoencoder`: from the command line's options to a run."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from var.autoencoder import Autoencoder
from var.errors import UserError
from var.recipes.autoencoder.presets import autoencoder_run
from var.recipes.autoencoder.settings import AutoencoderRun
from var.recipes.autoencoder.task import AutoencoderTask
from var.recipes.vqvae.cost import judging_networks
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import Evaluation, ReconstructionJudge
from var.runs.fine_tuning import check_fixed
from var.runs.job import Job, Prepared, configured, open_training_data
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.training import Task

FREE = ("dropout",)
"""Fields of an autoencoder's config that trained weights do not fix."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderJob(Job[AutoencoderRun]):
    """Training of an autoencoder, new or from the weights of `start`."""

    kind = "autoencoder"
    start: Autoencoder | None = None

    def __post_init__(self) -> None:
        if self.settings.data.text:
            raise UserError(f"an autoencoder is shown no text, got data.text={self.settings.data.text!r}; leave it out")
        if self.start is not None:
            check_fixed("autoencoder", self.settings.autoencoder, self.start.config, FREE)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "AutoencoderJob":
        """As the options say; loads, for fine-tuning, the weights to start from."""
        run = autoencoder_run(arguments.preset)
        start = None
        if arguments.init is not None:
            start = Autoencoder.from_pretrained(arguments.init)
            run = replace(run, autoencoder=replace(start.config, dropout=run.autoencoder.dropout))
        run = configured(run, arguments)
        data = open_training_data(arguments, (run.autoencoder.in_channels, *run.autoencoder.size), run.data)
        return cls(settings=run, data=data, start=start, init=arguments.init)

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        with torch.device("meta"):
            model = Autoencoder(settings.autoencoder)
        judges, judge_cost = judging_networks(model.image_shape, settings.losses)
        networks, cost = (Network.of("autoencoder", model), *judges), autoencoder_cost(model, settings) + judge_cost
        return self.planned(model, processes, networks=networks, image_cost=cost)

    def prepare(self, session: Session) -> Prepared:
        """Build the autoencoder and the networks of its losses."""
        settings = self.settings
        model = settings.model(seed=settings.training.seed)
        if self.start is not None:
            model.load_state_dict(self.start.state_dict())
        judge = ReconstructionJudge.of(self.judged, settings.evaluation)

        def scores(model: nn.Module, picture: Path) -> dict[str, float]:
            assert isinstance(model, Autoencoder)

            def reconstruct(images: Tensor) -> Tensor:
                return model.decode(model.encode(images.to(model.scale.device)))

            return judge.scores(reconstruct, picture)

        task = AutoencoderTask(model, settings.losses, seed=settings.training.seed)
        return Prepared(task=task, data=self.data, evaluation=Evaluation(scores, "squared_error"))

    def save(self, task: Task, folder: Path) -> str:
        """Save the autoencoder."""
        assert isinstance(task.model, Autoencoder)
        task.model.save_pretrained(folder, card=self.card())
        return f"saved an Autoencoder: diffuse in its latent space with --codec {folder}"


def autoencoder_cost(model: Autoencoder, settings: AutoencoderRun) -> Cost:
    """A training pass of one image; `model` is on the meta device."""
    dtype = torch.bfloat16 if settings.training.mixed_precision == "bf16" else torch.float32
    model.train().to(dtype)
    image = torch.zeros(1, *model.image_shape, device="meta", dtype=dtype)

    def loss() -> Tensor:
        latents, log_variance = model.moments(image)
        divergence = 0.0 if log_variance is None else log_variance.square().mean()
        return (model.expand(latents.to(dtype)) - image).square().mean() + divergence

    return cost_of(model, loss)
