"""`var train decoder`: from the command line's options to a run of stage 3."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from var.conditions import Condition
from var.errors import UserError
from var.generation import VARPipeline
from var.recipes.decoder.drawn import drawn_tokens
from var.recipes.decoder.presets import decoder_run
from var.recipes.decoder.settings import DecoderRun
from var.recipes.decoder.task import DecoderTask
from var.recipes.vqvae.cost import judging_networks
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import Evaluation, GeneratorJudge, ReconstructionJudge, data_name
from var.runs.fine_tuning import check_encoder
from var.runs.job import Job, Prepared, configured, open_text_encoder, open_training_data
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.terms import Terms
from var.training import Task
from var.weights import add_to_digest


@dataclass(frozen=True, kw_only=True)
class DecoderJob(Job[DecoderRun]):
    """Training of the decoder of `start` on tokens that its transformer draws."""

    kind = "decoder"
    adds_parameters = False
    start: VARPipeline

    def __post_init__(self) -> None:
        check_encoder(self.start.settings().get("text_encoder"), self.encoder)
        config = self.start.transformer.config
        for name, given in self.shown._asdict().items():
            if (taken := getattr(config, name)) != given:
                raise UserError(
                    f"the transformer to draw with must take what the data show, {name}={given}, got {name}={taken}; "
                    "give the data that it was trained on"
                )

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "DecoderJob":
        """As the options say; loads the pipeline whose decoder is trained."""
        run = decoder_run(arguments.preset)
        if arguments.init is None:
            raise UserError("a decoder is trained after its transformer, got none; add --init MODEL")
        start = VARPipeline.from_pretrained(arguments.init)
        text = (start.settings().get("text_encoder") or {}).get("name", "")
        config = start.transformer.config
        shown = {"class_labels": bool(config.num_classes), "text_sequence": bool(config.sequence_width)} if text else {}
        drawing = start.sampling or run.drawing
        run = configured(replace(run, data=replace(run.data, text=text, **shown), drawing=drawing), arguments)
        data = open_training_data(arguments, start.image_shape, run.data)
        encoder = open_text_encoder(arguments, run.data)
        return cls(settings=run, data=data, start=start, init=arguments.init, encoder=encoder)

    def facts(self) -> dict[str, Any]:
        """The pipeline, by a digest of its weights."""
        return {"pipeline": _digest(self.start), **super().facts()}

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        vqvae = self.start.vqvae
        decoder = nn.Sequential(*vqvae.decoding())
        judges, judging = judging_networks(self.start.image_shape, self.settings.losses)
        networks = (
            Network.of("decoder", decoder),
            *judges,
            Network.of("tokenizer", vqvae, trained=False),
            Network.of("transformer", self.start.transformer, trained=False),
        )
        notes = [f"tokens of {self.settings.samples:,} images are drawn once"]
        own = {"networks": networks, "shapes": vqvae.scales.shapes, "image_cost": self._cost() + judging}
        return self.planned(decoder, processes, **own, notes=notes)

    def _cost(self) -> Cost:
        """A step's passes for one image: of the decoder with its own and with drawn tokens, and the encoding."""
        config = self.start.vqvae.config
        with torch.device("meta"):
            vqvae = type(self.start.vqvae)(config)
            image = torch.zeros(1, config.in_channels, *config.image_size)
            latent = torch.zeros(1, config.width, *config.schedule.shapes[-1])
        decoder = nn.Sequential(*vqvae.decoding())
        once = cost_of(decoder, lambda: decoder(latent).square().mean())
        return once + once + cost_of(vqvae, lambda: vqvae.latent(image), backward=False)

    def prepare(self, session: Session) -> Prepared:
        """Draw the tokens, train the judge."""
        settings, processes = self.settings, session.processes
        data, judged = self.with_texts(session)
        drawn = drawn_tokens(
            self.start.to(processes.device),
            data,
            settings.samples,
            settings.drawing,
            folder=session.folder.path / "tokens",
            digest=_digest(self.start),
            seed=settings.training.seed,
            progress=session.progress,
            rank=processes.rank,
            world_size=processes.count,
            wait=processes.accelerator.wait_for_everyone,
        )
        reconstructions = ReconstructionJudge.of(judged, settings.evaluation)
        samples = GeneratorJudge.of(
            data,
            settings.evaluation,
            session.folder.path / "judge",
            name=data_name(settings.data.source),
            processes=processes,
            progress=session.progress,
            shown=judged,
        )

        def scores(model: nn.Module, picture: Path) -> dict[str, float]:
            pipeline = self.start

            def draw(shown: list[int] | Condition, seeds: Sequence[int]) -> Tensor:
                how = {"sampling": settings.drawing, "output_type": "pt", "progress": False}
                return pipeline(shown, seeds=list(seeds), **how).images * 2 - 1

            def reconstruct(images: Tensor) -> Tensor:
                return pipeline.vqvae.reconstruct(images.to(pipeline.device))

            pairs = picture.with_stem(f"{picture.stem}-reconstructions")
            return reconstructions.scores(reconstruct, pairs) | samples.scores(draw, picture)

        # Its decoder is what is trained, in place, so that the pipeline always draws with the weights of the moment.
        task = DecoderTask(self.start.vqvae, drawn, settings.losses, seed=settings.training.seed)
        return Prepared(task=task, data=data, evaluation=Evaluation(scores, samples.best or "squared_error"))

    def save(self, task: Task, folder: Path) -> str:
        """Save the pipeline with its new decoder."""
        pipeline = self.start
        pipeline.sampling = self.settings.drawing
        pipeline.terms = Terms.of(self.data)
        pipeline.save_pretrained(folder, card=self.card())
        return f"saved a VARPipeline: var generate --model {folder}"


def _digest(pipeline: VARPipeline) -> str:
    """32 hex digits that name the weights of a pipeline."""
    digest = hashlib.blake2b(digest_size=16)
    for part in pipeline.models().values():
        add_to_digest(digest.update, sorted(part.state_dict().items()))
    return digest.hexdigest()
