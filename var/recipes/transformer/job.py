"""`var train transformer`: from the command line's options to a run of stage 2."""

import argparse
import copy
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from var.conditions import Condition
from var.data.base import ConditionSize, without_images
from var.errors import UserError
from var.generation import VARPipeline
from var.quantities import size
from var.recipes.fine_tuning import Start, load_start, load_tokenizer, with_classes
from var.recipes.transformer.distillation import DistillationTask
from var.recipes.transformer.partial import PERIOD, PartialTask
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.settings import TransformerRun
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.recipes.transformer.token_cache_files import tokenizer_digest
from var.recipes.vqvae.presets import PRESETS as TOKENIZERS
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import generator_evaluation
from var.runs.fine_tuning import check_encoder
from var.runs.job import Job, Prepared, check_given, configured, open_text_encoder, open_training_data, shown_size
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.terms import Terms
from var.tokenizer import Tokenizer
from var.training import Task
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE


@dataclass(frozen=True, kw_only=True)
class TransformerJob(Job[TransformerRun]):
    """Training of a transformer, new or from `start`, on the tokens of `vqvae`."""

    kind = "transformer"
    vqvae: Tokenizer
    start: Start | None = None

    def __post_init__(self) -> None:
        check_encoder(self.start.text_encoder if self.start else None, self.encoder)
        for owner, wanted in _given(self.vqvae, self.shown).items():
            check_given("transformer", self.settings.transformer, wanted, owner)
        self.settings.sampling.guidance_scales(len(self.vqvae.scales))  # refuses what fits other scales
        if (guidance := self.settings.distilled_guidance) != 1 and self.start is None:
            raise UserError(f"distilled_guidance={guidance:g} fine-tunes trained weights, got none; add --init MODEL")

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "TransformerJob":
        """As the options say; loads the tokenizer and, for fine-tuning, the weights to start from."""
        run = transformer_run(arguments.preset)
        start = None
        if arguments.init is not None:
            start = load_start(arguments.init, variant=arguments.variant, tokenizer=arguments.vqvae)
        vqvae = _tokenizer(arguments.vqvae, start, run, plan=arguments.plan)
        model = run.transformer
        if start is not None:  # the architecture of trained weights with the regularisation of the preset
            model = replace(start.transformer.config, dropout=model.dropout, drop_path=model.drop_path)
        if vqvae.scales != run.transformer.schedule:  # what a preset says of its own token maps does not hold
            run = replace(run.for_any_maps(), sampling=run.sampling.unlisted())
        if vqvae.scales != model.schedule:
            own = {each.name: each.default for each in fields(model) if each.metadata.get("of") == "sides"}
            model = replace(model, **own)
        model = replace(model, **_tokens(vqvae))
        run = replace(run, transformer=model)
        taught = run.taught_guidance()
        asked = configured(taught, arguments)
        shown = asked.data  # what is shown decides on the model
        if asked.distilled_guidance != 1:  # predictions without noise, for samples without guidance
            run, model = taught, replace(model, dropout=0.0, drop_path=0.0)
        data = open_training_data(arguments, (vqvae.config.in_channels, *vqvae.config.image_size), shown)
        encoder = open_text_encoder(arguments, shown)
        model = replace(model, **shown_size(data, shown, encoder)._asdict())
        run = configured(replace(run, transformer=model), arguments)
        return cls(settings=run, data=data, vqvae=vqvae, start=start, init=arguments.init, encoder=encoder)

    def facts(self) -> dict[str, Any]:
        """The tokenizer, by a digest of its weights, and where the training started."""
        return {"tokenizer": tokenizer_digest(self.vqvae), **super().facts()}

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings, scales = self.settings, self.settings.transformer.schedule
        with torch.device("meta"):
            model = VAR(settings.transformer)
        networks = (Network.of("transformer", model), Network.of("tokenizer", self.vqvae, trained=False))
        if settings.distilled_guidance != 1:
            networks = *networks, Network.of("reference", model, trained=False)
        notes = []
        if settings.tokens.cached:
            cached = settings.tokens.variants * len(self.data) * scales.length * 2
            images = f"{settings.tokens.variants} x {len(self.data):,} images"
            notes.append(f"tokens are encoded once: {images}, {size(cached)}")
        return self.planned(
            model, processes, networks=networks, shapes=scales.shapes, image_cost=self._cost(), notes=notes
        )

    def _cost(self) -> Cost:
        """A step's pass of one image, encoding included where tokens are not cached."""
        settings, config = self.settings, self.vqvae.config
        half, checkpointing = settings.training.mixed_precision == "bf16", settings.gradient_checkpointing
        cost = transformer_cost(
            settings.transformer, half=half, checkpointing=checkpointing, looked_at=settings.tokens.kept
        )
        if settings.distilled_guidance != 1:  # and two passes of the reference, each a third of what is trained
            cost = replace(cost, flops=5 * cost.flops // 3)
        if settings.tokens.cached:
            return cost
        with torch.device("meta"):
            vqvae, image = type(self.vqvae)(config), torch.zeros(1, config.in_channels, *config.image_size)
        return cost + cost_of(vqvae, lambda: vqvae.latent(image), backward=False)

    def prepare(self, session: Session) -> Prepared:
        """Build the transformer, encode the images, train the judge."""
        settings = self.settings
        model = self._model(session)
        model.gradient_checkpointing = settings.gradient_checkpointing
        data, judged = self.with_texts(session)  # first: a bad caption is found in less time than tokens take
        cache = self._cache(session) if settings.tokens.cached else None

        def pipeline(model: nn.Module) -> VARPipeline:
            assert isinstance(model, VAR)
            return VARPipeline(self.vqvae.to(model.position.device), model)

        exact = TransformerTask(model, self.vqvae, label_drop=0.0)
        options = settings.sampling.keywords()
        how = {"temperature": settings.tokens.temperature, "map_weights": settings.map_weights}
        how |= {"label_smoothing": settings.label_smoothing}
        plain = TransformerTask(model, self.vqvae, label_drop=settings.label_drop, cache=cache, **how)
        task: Task = PartialTask(plain, settings.tokens.kept) if settings.tokens.kept else plain
        if settings.distilled_guidance != 1:
            taught = replace(settings.sampling, guidance_scale=settings.distilled_guidance)
            guidance = tuple(taught.guidance_scales(len(self.vqvae.scales)))
            task = DistillationTask(plain, copy.deepcopy(model), guidance)
        return Prepared(
            task=task,
            data=data if cache is None else without_images(data),
            vary=cache is None,
            evaluation=generator_evaluation(settings, data, judged, session, exact, pipeline, options),
        )

    def _model(self, session: Session) -> VAR:
        if self.start is None:
            return self.settings.model(seed=self.settings.training.seed)
        model, words = with_classes(self.start, self.settings.transformer, self.shown_classes)
        session.say(words)
        return model

    def _cache(self, session: Session) -> TokenCache:
        settings, processes = self.settings, session.processes
        self.vqvae.to(processes.device).eval()
        return TokenCache.of(
            self.data,
            self.vqvae,
            folder=session.folder.path / "tokens",
            variants=settings.tokens.variants,
            temperature=settings.tokens.temperature,
            seed=settings.training.seed,
            augment=settings.data.augmentation(),
            progress=session.progress,
            workers=session.workers,
            rank=processes.rank,
            world_size=processes.count,
            wait=processes.accelerator.wait_for_everyone,
        )

    def save(self, task: Task, folder: Path) -> str:
        """Save tokenizer and transformer as one pipeline."""
        assert isinstance(task.model, VAR)
        own = {"text_encoder": self.encoder, "sampling": self.settings.sampling}
        pipeline = VARPipeline(self.vqvae, task.model, self.shown_classes, **own)
        pipeline.terms = Terms.of(self.data)
        pipeline.save_pretrained(folder, card=self.card())
        return f"saved a VARPipeline: var generate --model {folder}"


def transformer_cost(config: VARConfig, *, half: bool = False, checkpointing: bool = False, looked_at: int = 0) -> Cost:
    """A training pass of one image, in 16 bits if `half`.

    Where most passes see so many tokens of the finest map only, the operations are those of the mean pass, and the
    memory is that of a whole one.
    """
    cost = _counted(config, half)
    if looked_at:
        part = _counted(config, half, config.schedule.length - config.schedule.lengths[-1] + looked_at)
        cost = replace(cost, flops=round(part.flops + (cost.flops - part.flops) / PERIOD))
    if not checkpointing:
        return cost
    # Of every block its input is kept, and beside them what a model of one block keeps.
    inputs = config.depth * config.schedule.length * config.width * (2 if half else 4)
    return Cost(flops=cost.flops, kept=inputs + _counted(replace(config, depth=1), half).kept)


@lru_cache(maxsize=8)  # plans of one model ask several times
def _counted(config: VARConfig, half: bool, some: int | None = None) -> Cost:
    """A pass of the first `some` positions, or of all."""
    with torch.device("meta"):
        model = VAR(config).to(torch.bfloat16 if half else torch.float32)
    scales = model.scales

    def loss() -> Tensor:
        rest = scales.length - scales.lengths[0]
        inputs = torch.zeros(1, rest, config.code_width, dtype=model.position.dtype, device="meta")
        nothing = Condition.nothing(1, config.vector_width, config.sequence_width).to("meta")
        tokens = torch.zeros(1, scales.length, dtype=torch.long, device="meta")
        positions = None if some is None else tokens[:, :some]
        return F.cross_entropy(model(nothing, inputs, tokens, positions).mT, tokens[:, :some])

    return cost_of(model, loss)


def _tokenizer(source: str | None, start: Start | None, run: TransformerRun, *, plan: bool) -> Tokenizer:
    """The trained tokenizer; for a plan, which needs none, one without weights of a preset that fits."""
    if source is None:
        if start is not None and start.vqvae is not None:
            return start.vqvae
        for config in (each.vqvae for each in TOKENIZERS.values() if plan):
            mine = (config.schedule, config.vocabulary, config.width)
            if mine == (run.transformer.schedule, run.transformer.vocabulary, run.transformer.code_width):
                with torch.device("meta"):
                    return VQVAE(config)
        raise UserError("a transformer needs a trained tokenizer, got none; add --vqvae FOLDER")
    if start is not None and start.vqvae is not None and Path(source).expanduser().is_file():
        return start.vqvae  # of the pair of official files
    return load_tokenizer(source, run.transformer.sides)


def _given(vqvae: Tokenizer, shown: ConditionSize) -> dict[str, dict[str, Any]]:
    """The fields of a transformer's config that are not chosen, by what gives them."""
    return {"the tokenizer": _tokens(vqvae), "the data": shown._asdict()}


def _tokens(vqvae: Tokenizer) -> dict[str, Any]:
    """The fields of a transformer's config that its tokenizer gives."""
    config = vqvae.config
    tokens = {"sides": config.sides, "repeats": config.schedule.repeats, "vocabulary": config.vocabulary}
    return {**tokens, "code_width": config.width}
