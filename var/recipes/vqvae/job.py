"""`var train vqvae`: from the command line's options to a run of stage 1."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from var.errors import UserError
from var.recipes.fine_tuning import load_tokenizer
from var.recipes.vqvae.codebook_health import code_use, count_codes
from var.recipes.vqvae.cost import loss_networks, vqvae_cost
from var.recipes.vqvae.presets import vqvae_run
from var.recipes.vqvae.settings import VQVAERun
from var.recipes.vqvae.task import VQVAETask
from var.runs.evaluation import Evaluation, ReconstructionJudge
from var.runs.fine_tuning import check_fixed
from var.runs.job import Job, Prepared, configured, open_training_data
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.training import Task
from var.vqvae import VQVAE

FREE = ("dropout", "commitment", "codebook", "codebook_decay", "kmeans_init", "restart_below", "scale_dropout")
"""Fields of a tokenizer's config that trained weights do not fix: they tell how it learns."""


@dataclass(frozen=True, kw_only=True)
class VQVAEJob(Job[VQVAERun]):
    """Training of a tokenizer, new or from the weights of `start`."""

    kind = "vqvae"
    shares = ("codes_used",)
    start: VQVAE | None = None

    def __post_init__(self) -> None:
        if self.settings.data.text:
            raise UserError(f"a tokenizer is shown no text, got data.text={self.settings.data.text!r}; leave it out")
        if self.start is not None:
            check_fixed("vqvae", self.settings.vqvae, self.start.config, FREE)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "VQVAEJob":
        """As the options say; loads, for fine-tuning, the weights to start from."""
        run = vqvae_run(arguments.preset)
        start = None
        if arguments.init is not None:
            start = load_tokenizer(arguments.init, run.vqvae.sides)
            if not isinstance(start, VQVAE):
                raise UserError(
                    f"--init must name a VQVAE, got a {type(start).__name__} in {arguments.init}; name another"
                )
            learning = {name: getattr(run.vqvae, name) for name in FREE}
            # The codes are trained already.
            run = replace(run, vqvae=replace(start.config, **{**learning, "kmeans_init": False}))
        run = configured(run, arguments)
        data = open_training_data(arguments, (run.vqvae.in_channels, *run.vqvae.image_size), run.data)
        return cls(settings=run, data=data, start=start, init=arguments.init)

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        with torch.device("meta"):
            vqvae = VQVAE(settings.vqvae)
        judges, judge_cost = loss_networks(settings)
        networks, cost = (Network.of("tokenizer", vqvae), *judges), vqvae_cost(vqvae, settings) + judge_cost
        return self.planned(vqvae, processes, networks=networks, shapes=settings.vqvae.schedule.shapes, image_cost=cost)

    def prepare(self, session: Session) -> Prepared:
        """Build the tokenizer and the networks of its losses."""
        settings = self.settings
        model = settings.model(seed=settings.training.seed)
        if self.start is not None:
            model.continue_from(self.start)
        judge = ReconstructionJudge.of(self.judged, settings.evaluation)

        def scores(model: nn.Module, picture: Path) -> dict[str, float]:
            assert isinstance(model, VQVAE)
            counts = torch.zeros(len(model.config.schedule), model.config.vocabulary, dtype=torch.int64)

            def reconstruct(images: Tensor) -> Tensor:
                token_maps = model.encode(images.to(model.quant_conv.weight.device))
                counts.add_(count_codes(token_maps, model.config.vocabulary).cpu())
                return model.decode(token_maps)

            found = judge.scores(reconstruct, picture)
            used, perplexity = code_use(counts.sum(0))
            return {**found, "codes_used": float(used), "perplexity": float(perplexity)}

        task = VQVAETask(model, settings.losses, seed=settings.training.seed)
        return Prepared(task=task, data=self.data, evaluation=Evaluation(scores, "squared_error"))

    def save(self, task: Task, folder: Path) -> str:
        """Save the tokenizer."""
        assert isinstance(task.model, VQVAE)
        task.model.save_pretrained(folder, card=self.card())
        return f"saved a VQVAE: var train transformer {self.settings.data.source} --vqvae {folder} --preset ..."
