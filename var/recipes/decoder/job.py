"""`var train decoder`: from the command line's options to a run of stage 3."""

import argparse
import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from var.conditions import Condition
from var.data.base import ImageData
from var.errors import UserError, listed
from var.generation import VARPipeline
from var.recipes.decoder.drawn import drawn_tokens
from var.recipes.decoder.presets import decoder_run
from var.recipes.decoder.settings import DecoderRun
from var.recipes.decoder.task import DecoderTask
from var.recipes.other_kinds import sent_on
from var.recipes.vqvae.cost import judging_networks
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import Evaluation, GeneratorJudge, ReconstructionJudge, data_name
from var.runs.fine_tuning import check_encoder
from var.runs.job import Job, Prepared, configured, open_text_encoder, open_training_data
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.terms import Terms
from var.tokenizer import Tokenizer
from var.training import Task


@dataclass(frozen=True, kw_only=True)
class DecoderJob(Job[DecoderRun]):
    """Training of the decoder of `start` on tokens that its transformer draws."""

    kind = "decoder"
    adds_parameters = False
    start: VARPipeline

    def __post_init__(self) -> None:
        check_encoder(self.start.settings().get("text_encoder"), self.encoder)
        # Refused now, and not when all tokens are drawn: what fits other scales, and a discriminator of larger images.
        self.settings.drawing.guidance_scales(len(self.start.vqvae.scales))
        judging_networks(self.start.image_shape, self.settings.losses)
        config = self.start.transformer.config
        for name, given in self.shown._asdict().items():
            if (taken := getattr(config, name)) != given:
                raise UserError(
                    f"the transformer to draw with must take what the data show, {name}={given}, got {name}={taken}; "
                    "give the data that it was trained on"
                )
        names, given = self.start.class_names, self.shown_classes
        if names and names != given and tuple(map(str, range(len(names)))) not in (names, given):
            raise UserError(
                f"the data must have the classes of the transformer in its order, {listed(names, 5)}, got "
                f"{listed(given, 5)}; give the data that it was trained on"
            )

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "DecoderJob":
        """As the options say; loads the pipeline whose decoder is trained."""
        run = decoder_run(arguments.preset)
        if arguments.init is None:
            raise UserError("a decoder is trained after its transformer, got none; add --init MODEL")
        with sent_on(arguments.init):
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
        return {"pipeline": self.start.digest(), **super().facts()}

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        vqvae, settings = self.start.vqvae, self.settings
        decoder = nn.Sequential(*vqvae.decoding())
        judges, judging = judging_networks(self.start.image_shape, settings.losses)
        trained, whole = Network.of("decoder", decoder), Network.of("tokenizer", vqvae, trained=False)
        networks = [
            trained,
            *judges,
            replace(whole, name="encoder and codes", parameters=whole.parameters - trained.parameters),
            Network.of("transformer", self.start.transformer, trained=False),
        ]
        notes = [f"tokens of {settings.samples:,} images are drawn once"]
        own = {"networks": networks, "shapes": vqvae.scales.shapes, "image_cost": self._cost() + judging}
        return self.planned(decoder, processes, **own, notes=notes)

    def _cost(self) -> Cost:
        """A step's passes for one image: the encoding, and the decoder with its tokens and with drawn ones."""
        config, half = self.start.vqvae.config, self.settings.training.mixed_precision == "bf16"
        dtype = torch.bfloat16 if half else torch.float32
        with torch.device("meta"):
            vqvae = type(self.start.vqvae)(config)
            image = torch.zeros(1, config.in_channels, *config.image_size)
            latent = torch.zeros(1, config.width, *config.schedule.shapes[-1], dtype=dtype)
        encoding = cost_of(vqvae, lambda: vqvae.latent(image), backward=False)
        decoder = nn.Sequential(*vqvae.decoding()).to(dtype)
        once = cost_of(decoder, lambda: decoder(latent).square().mean())
        return encoding + once + once

    def prepare(self, session: Session) -> Prepared:
        """Draw the tokens, copy the tokenizer, train the judge."""
        settings, processes = self.settings, session.processes
        data, judged = self.with_texts(session)
        drawn = drawn_tokens(
            self.start.to(processes.device),
            data,
            settings.samples,
            settings.drawing,
            folder=session.folder.path / "tokens",
            digest=self.start.digest(),
            seed=settings.training.seed,
            progress=session.progress,
            rank=processes.rank,
            world_size=processes.count,
            wait=processes.accelerator.wait_for_everyone,
        )
        # A copy is trained, within a pipeline that draws with the weights of the moment: what `start` is stays.
        pipeline = self._pipeline(copy.deepcopy(self.start.vqvae))
        task = DecoderTask(pipeline.vqvae, drawn, settings.losses, seed=settings.training.seed)
        return Prepared(task=task, data=data, evaluation=self._evaluation(pipeline, data, judged, session))

    def _evaluation(self, pipeline: VARPipeline, data: ImageData, judged: ImageData, session: Session) -> Evaluation:
        """Reconstructions of the images `judged`, and the distance of the samples of `pipeline` to `data`."""
        settings = self.settings
        reconstructions = ReconstructionJudge.of(judged, settings.evaluation)
        samples = GeneratorJudge.of(
            data,
            settings.evaluation,
            session.folder.path / "judge",
            name=data_name(settings.data.source),
            processes=session.processes,
            progress=session.progress,
            shown=judged,
        )

        def draw(shown: list[int] | Condition, seeds: list[int]) -> Tensor:
            return pipeline(shown, seeds=seeds, output_type="pt", progress=False).images * 2 - 1

        def reconstruct(images: Tensor) -> Tensor:
            return pipeline.vqvae.reconstruct(images.to(pipeline.device))

        def scores(model: nn.Module, picture: Path) -> dict[str, float]:
            pairs = picture.with_stem(f"{picture.stem}-reconstructions")
            return reconstructions.scores(reconstruct, pairs) | samples.scores(draw, picture)

        return Evaluation(scores, samples.best or "squared_error")

    def _pipeline(self, vqvae: Tokenizer) -> VARPipeline:
        """That of `start` with another tokenizer, sampled as its decoder is trained."""
        own = {**self.start.settings(), "sampling": self.settings.drawing}
        pipeline = VARPipeline(**{**self.start.models(), "vqvae": vqvae}, **own)
        pipeline.terms = Terms.joined((self.start.terms, Terms.of(self.data)))
        return pipeline

    def save(self, task: Task, folder: Path) -> str:
        """Save the pipeline with its new decoder."""
        assert isinstance(task, DecoderTask)
        self._pipeline(task.tokenizer).save_pretrained(folder, card=self.card())
        return f"saved a VARPipeline: var generate --model {folder}"
