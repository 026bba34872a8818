"""`var train vqvae`: from the command line's options to a run of stage 1."""

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from var.command_line.run_options import assignments
from var.data.base import ImageData
from var.errors import UserError
from var.randomness import keyed_global_stream
from var.recipes.fine_tuning import load_tokenizer
from var.recipes.vqvae.codebook_health import code_use, count_codes
from var.recipes.vqvae.cost import loss_networks, vqvae_cost
from var.recipes.vqvae.presets import vqvae_run
from var.recipes.vqvae.settings import VQVAERun
from var.recipes.vqvae.task import VQVAETask
from var.runs.evaluation import ReconstructionJudge, held_out
from var.runs.overrides import overridden
from var.runs.plan import Network, Plan
from var.runs.session import Prepared, Session, open_training_data
from var.runs.settings import DataSettings
from var.training import Task
from var.training.optimization import optimizer_flops
from var.vqvae import VQVAE, VQVAEConfig

FREE = ("dropout", "commitment", "codebook", "codebook_decay", "kmeans_init", "restart_below", "scale_dropout")
"""Fields of a tokenizer's config that trained weights do not fix: they tell how it learns."""


class VQVAEJob:
    """Training of a tokenizer, new or from the weights of `start`."""

    kind = "vqvae"

    def __init__(
        self, settings: VQVAERun, data: ImageData, *, start: VQVAE | None = None, init: str | None = None
    ) -> None:
        if start is not None:
            _check_start(settings.vqvae, start.config)
        self.settings = settings
        self.data = data
        self.start = start
        self.init = init

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
        run = overridden(run, files=arguments.files, assignments=assignments(arguments))
        run = replace(run, data=replace(run.data, source=arguments.data))
        shape = (run.vqvae.in_channels, *run.vqvae.image_size)
        return cls(
            run,
            open_training_data(DataSettings(source=arguments.data), arguments, shape),
            start=start,
            init=arguments.init,
        )

    def facts(self) -> dict[str, Any]:
        """Where the training started."""
        return {"init": self.init}

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        scales = settings.vqvae.schedule
        with torch.device("meta"):
            vqvae = VQVAE(settings.vqvae)
        judges, judge_cost = loss_networks(settings)
        return Plan(
            title=f"{self.kind} in {settings.training.mixed_precision.replace('no', 'float32')}",
            networks=(
                Network(name="tokenizer", parameters=sum(weight.numel() for weight in vqvae.parameters())),
                *judges,
            ),
            data=f"{settings.data.source}, {'x'.join(map(str, self.data.shape[1:]))}",
            images=len(self.data),
            classes=len(self.data.classes),
            tokens=scales.length,
            sides=" ".join(f"{height}x{width}" for height, width in scales.shapes),
            image_cost=vqvae_cost(vqvae, settings) + judge_cost,
            optimizer_flops=optimizer_flops(vqvae, settings.training),
            training=settings.training,
            processes=processes,
        )

    def prepare(self, session: Session) -> Prepared:
        """Build the tokenizer and the networks of its losses."""
        settings = self.settings
        with keyed_global_stream("vqvae", settings.training.seed):
            model = VQVAE(settings.vqvae)
        if self.start is not None:
            model.continue_from(self.start)
        judge = ReconstructionJudge.of(
            held_out(settings.data.source, self.data, session.on_bad_image), settings.evaluation
        )

        def look(model: nn.Module, picture: Path) -> dict[str, float]:
            assert isinstance(model, VQVAE)
            counts = torch.zeros(len(model.config.schedule), model.config.vocabulary, dtype=torch.int64)

            def reconstruct(images: Tensor) -> Tensor:
                token_maps = model.encode(images.to(model.quant_conv.weight.device))
                counts.add_(count_codes(token_maps, model.config.vocabulary).cpu())
                return model.decode(token_maps)

            scores = judge.look(reconstruct, picture)
            used, perplexity = code_use(counts.sum(0))
            return {**scores, "codes_used": float(used), "perplexity": float(perplexity)}

        task = VQVAETask(model, settings.losses, seed=settings.training.seed)
        return Prepared(task=task, data=self.data, look=look, best="squared_error")

    def save(self, task: Task, folder: Path) -> str:
        """Save the tokenizer."""
        assert isinstance(task.model, VQVAE)
        task.model.save_pretrained(folder)
        return f"saved a VQVAE: var train transformer {self.settings.data.source} --vqvae {folder} --preset ..."


def _check_start(config: VQVAEConfig, trained: VQVAEConfig) -> None:
    for field in fields(VQVAEConfig):
        given, fixed = getattr(config, field.name), getattr(trained, field.name)
        if field.name not in FREE and given != fixed:
            raise UserError(f"vqvae.{field.name} is fixed by the weights to start from, {fixed}, got {given}; drop it")
