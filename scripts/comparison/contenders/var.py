"""VAR as a contender: a tokenizer, a transformer and, by choice, the decoder again, one after the other."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import log, log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comparison.contenders.contender import Contender, ModelPlan, Row, encoder_of, given_by, in_batches
from comparison.report.figures import code_usage_chart, in_pixels, reconstruction_pairs, reconstruction_swipe
from comparison.report.processes import Process
from var.data.base import ImageData
from var.errors import UserError
from var.evaluation import perturbed_tokens, psnr
from var.evaluation.report.html import Html, element, facts, figure
from var.evaluation.sets.controls import token_marginals
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings
from var.images import Signed, to_uint8
from var.quantities import fixed
from var.recipes.decoder.job import DecoderJob
from var.recipes.decoder.presets import PRESETS as DECODERS
from var.recipes.transformer.job import TransformerJob
from var.recipes.transformer.presets import PRESETS as TRANSFORMERS
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.settings import TransformerRun
from var.recipes.vqvae.codebook_health import code_use, count_codes
from var.recipes.vqvae.job import VQVAEJob
from var.recipes.vqvae.presets import PRESETS as TOKENIZERS
from var.recipes.vqvae.presets import vqvae_run
from var.runs.job import Job
from var.vqvae import VQVAE

PERTURBED = 0.1
"""Share of the tokens that are replaced by near ones, to see what the decoder makes of a generator's misses."""
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 4.0)
SHOWN = {"digits": (1.0, 1.2, 1.5)}
"""Guidance scales beside the headline's, by preset, where they are others than `GUIDANCE`."""


class VARContender(Contender):
    """Next-scale autoregression."""

    key = "var"
    title = "VAR"
    word = "VAR"
    color = "blue"
    pipeline = VARPipeline
    run = TransformerRun
    network = "transformer"
    samplers = {"next-scale": "o"}  # noqa: RUF012 (never changed)
    alike = ("steps", "temperature", "top_k", "top_p")
    order = "guidance_scale"
    density = "of tokens"
    cannot = "tells no likelihood of pixels, only of tokens, and is no better than its tokenizer decodes"

    def presets(self) -> Collection[str]:
        """Those of both stages."""
        return [name for name in TRANSFORMERS if name in TOKENIZERS]

    def shows_captions(self, preset: str) -> bool:
        """As the transformer's run says."""
        return bool(transformer_run(preset).data.text)

    def preset_shape(self, preset: str) -> tuple[int, int, int]:
        """As the tokenizer's sides imply."""
        config = vqvae_run(preset).vqvae
        return config.in_channels, *config.image_size

    def plan(self, preset: str, data: ImageData) -> ModelPlan:
        """The tokenizer takes the channels of the data; its sides fix the size."""
        tokenizer, transformer = vqvae_run(preset), transformer_run(preset)
        vqvae = replace(tokenizer.vqvae, in_channels=data.shape[0])
        if vqvae.image_size != data.shape[1:]:
            made, given = (in_pixels(size) for size in (vqvae.image_size, data.shape[1:]))
            raise UserError(
                f"the token maps of the preset {preset!r} make images of {made}, got data of {given}; give "
                f"--size {vqvae.image_size[0]}, or a --preset for that size"
            )
        training, tokens = transformer.training, transformer.tokens
        if tokens.cached and len(data) * tokens.variants > training.steps * training.batch_size:
            # All would take longer to encode than those that are looked at, and leave no seconds to train in.
            transformer = replace(transformer, tokens=replace(tokens, cached=False))
        shown = replace(transformer.transformer, **given_by(data, transformer.data))
        headline = transformer.sampling
        runs = {"tokenizer": replace(tokenizer, vqvae=vqvae), "transformer": replace(transformer, transformer=shown)}
        if preset in DECODERS:
            told = {name: getattr(transformer.data, name) for name in ("text", "class_labels", "text_sequence")}
            decoder = DECODERS[preset]
            runs["decoder"] = replace(decoder, data=replace(decoder.data, **told), drawing=headline)
        return ModelPlan(
            runs=runs,
            steps=shown.drawing.total,
            walk=shown.drawing.by_map,
            headline=headline,
            sweep=self._guided(headline, SHOWN.get(preset, GUIDANCE)),
            grid=self._guided(headline, GUIDANCE),
        )

    def plan_of(self, pipeline: VARPipeline, run: Any) -> ModelPlan:
        """The settings of its run, or the pipeline's own; raises `UserError` for guidance by scale."""
        headline = run.sampling if run else pipeline.sampling or SamplingSettings()
        if isinstance(headline.guidance_scale, tuple):
            raise UserError(
                "a comparison varies guidance as one number, but a run was set to one for each scale, "
                f"{list(headline.guidance_scale)}; load its folder and compare what save_pretrained writes elsewhere"
            )
        grid = self._guided(headline, GUIDANCE)
        passes = pipeline.transformer.passes
        return ModelPlan(steps=passes.total, walk=passes.by_map, headline=headline, sweep=grid, grid=grid)

    def _guided(self, headline: SamplingSettings, scales: tuple[float, ...]) -> tuple[SamplingSettings, ...]:
        return tuple(replace(headline, guidance_scale=scale) for scale in scales)

    def job(self, stage: str, run: Any, data: ImageData, before: Mapping[str, Path]) -> Job[Any]:
        """The transformer learns the tokenizer's tokens, the decoder those that the transformer draws."""
        if stage == "tokenizer":
            return VQVAEJob(settings=run, data=data)
        if stage == "decoder":
            start = VARPipeline.from_pretrained(before["transformer"])
            return DecoderJob(settings=run, data=data, start=start, encoder=encoder_of(run.data.text))
        vqvae = VQVAE.from_pretrained(before["tokenizer"])
        return TransformerJob(settings=run, data=data, vqvae=vqvae, encoder=encoder_of(run.data.text))

    def image_shape(self, pipeline: VARPipeline) -> tuple[int, int, int]:
        """As the tokenizer decodes them."""
        config = pipeline.vqvae.config
        return config.in_channels, *config.image_size

    def sampler(self, sampling: SamplingSettings) -> str:
        """There is one."""
        return next(iter(self.samplers))

    def steps(self, sampling: SamplingSettings, plan: ModelPlan) -> int:
        """A pass for each scale."""
        return plan.steps

    def evaluations(self, sampling: SamplingSettings, plan: ModelPlan) -> int:
        """By the passes of each map."""
        return sampling.evaluations(plan.walk)

    def around(self, sampling: SamplingSettings) -> tuple[SamplingSettings, ...]:
        """Other guidance scales."""
        return self._guided(sampling, GUIDANCE)

    def row_title(self, row: Row) -> str:
        """As in "VAR g=1.5"."""
        return f"{self.title.replace(' ', '-')} g={row['guidance_scale']:g}"

    def mark_title(self, row: Row) -> str:
        """The guidance scale."""
        return f"g={row['guidance_scale']:g}"

    def about(self, row: Row, report: Any) -> str:
        """Token maps of growing side, and a decoder that was trained for them, if it was."""
        maps = [in_pixels(side) for side in report.tokenizer.get("sides", ())]
        several = "a map or an even share of one" if row["steps"] > len(maps) > 0 else "a whole map"
        runs = report.settings.get("models", {}).get(self.key, {}).get("runs", {})
        drawn = " The tokenizer's decoder was then trained on tokens that the transformer draws."
        return (
            f"A transformer writes an image as token maps of growing side ({', '.join(maps)}), {several} at each of "
            f"{row['steps']} steps.{drawn if 'decoder' in runs else ''}"
        )

    def process(self, pipeline: VARPipeline, sampling: SamplingSettings, call: Mapping[str, Any]) -> Process:
        """The image after every scale."""
        out = pipeline(sampling=sampling, return_intermediates=True, **call)
        assert out.intermediates is not None
        names = [in_pixels(shape) for shape in pipeline.vqvae.config.schedule.shapes]
        total = pipeline.transformer.passes.total
        cost = "Every column costs one pass" if total == len(names) else f"All columns cost {total} passes"
        return Process(
            title="VAR: from coarse to fine",
            caption="Each column is the image decoded after one more scale; watch when the class can be told, and what "
            f"the finer scales still add. {cost} of the transformer.",
            alt=f"A VAR sample after each of its {len(names)} scales, from blurred to sharp.",
            stages=[stage.cpu() * 2 - 1 for stage in out.intermediates],
            names=names,
        )

    def controls(
        self, pipeline: VARPipeline, images: Tensor, labels: Tensor, per_class: int, seed: int
    ) -> dict[str, Tensor]:
        """Every token drawn on its own, given the class."""
        maps = _encoded(pipeline.vqvae, images)
        drawn = token_marginals(maps, labels, int(labels.max()) + 1, per_class, seed)
        return {"token_marginals": _decoded(pipeline.vqvae, drawn)}

    def likelihoods(
        self, pipeline: VARPipeline, images: Tensor, labels: Tensor, levels: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Of the tokens of an image, by the number of its values."""
        nats = pipeline.log_likelihood(Signed(images), labels)
        return {self.density: -nats.cpu() / images[0].numel() / log(2)}

    def health(
        self, pipeline: VARPipeline, train: Tensor, test: Tensor, distance: Callable[[Tensor], float]
    ) -> dict[str, Any]:
        """Reconstruction of test and training images, the bits of one, and the use of the codebook by scale."""
        vqvae = pipeline.vqvae
        maps = _encoded(vqvae, train)
        decoded_train, decoded_test = _decoded(vqvae, maps), in_batches(vqvae.reconstruct, test, vqvae.device)
        counts = count_codes(maps, vqvae.config.vocabulary)
        usage, perplexity = code_use(counts)
        tokens = vqvae.config.schedule.length
        return {
            "psnr_test": float(psnr(to_uint8(test), to_uint8(decoded_test)).mean()),
            "psnr_train": float(psnr(to_uint8(train), to_uint8(decoded_train)).mean()),
            "reconstruction_fd": distance(decoded_train),
            "perturbed_fd": distance(_decoded(vqvae, _perturbed(vqvae, maps))),
            "perturbed_share": PERTURBED,
            "codes_used": float(code_use(counts.sum(0))[0]),
            "sides": list(vqvae.config.schedule.maps),
            "usage_by_scale": usage.tolist(),
            "perplexity_by_scale": perplexity.tolist(),
            "parameters": sum(weight.numel() for weight in vqvae.parameters()),
            "tokens": tokens,
            "vocabulary": vqvae.config.vocabulary,
            "bits_per_image": tokens * log2(vqvae.config.vocabulary),
        }

    def details(self, pipeline: VARPipeline, test: Tensor, report: Any) -> list[Html]:
        """Reconstructions beside their originals, and the codes in use."""
        numbers, originals = report.tokenizer, test[:16]
        decoded = in_batches(pipeline.vqvae.reconstruct, originals, pipeline.device)
        unseen = "" if report.trained_elsewhere else " that the tokenizer has never seen"
        return [
            element("p", "VAR draws tokens, so no sample of it can be better than what the tokenizer can decode."),
            self.numbers(report),
            figure(
                reconstruction_pairs(originals, decoded),
                f"Top: test images{unseen}. Bottom: what is left of them in tokens. Look for details that thin out, "
                "break or vanish.",
                alt="A row of original images above a row of their reconstructions.",
                title="Reconstructions",
            ),
            reconstruction_swipe(originals, decoded),
            figure(
                code_usage_chart(*(numbers[key] for key in ("sides", "usage_by_scale", "perplexity_by_scale"))),
                "Left: how much of the codebook each scale uses at all. Right: how many codes it uses evenly "
                "(perplexity). Coarse scales hold few tokens per image and need few codes; low bars at fine ones would "
                "mean a collapse.",
                alt="Bar charts of codebook usage and perplexity for every scale.",
                title="Codes by scale",
                wide=True,
            ),
        ]

    def numbers(self, report: Any) -> Html:
        """A table of what the tokenizer does."""
        numbers, show = report.tokenizer, fixed(3)
        rows = [
            ("PSNR, test images", f"{numbers['psnr_test']:.1f} dB"),
            (
                "PSNR, other images" if report.trained_elsewhere else "PSNR, training images",
                f"{numbers['psnr_train']:.1f} dB",
            ),
            (f"{report.distance_name} of reconstructions", show(numbers["reconstruction_fd"])),
            ("Codes in use", f"{numbers['codes_used']:.0%}"),
        ]
        if "perturbed_fd" in numbers:
            title = f"The same with {numbers['perturbed_share']:.0%} of the tokens swapped for near ones (pFD)"
            rows.insert(3, (title, show(numbers["perturbed_fd"])))
        if "bits_per_image" in numbers:
            tokens = f"{numbers['tokens']} tokens of {numbers['vocabulary']} codes"
            rows.append(("Bits per image", f"{numbers['bits_per_image']:.0f}, {tokens}"))
        return facts(rows)


def _encoded(vqvae: Any, images: Tensor) -> list[Tensor]:
    """The token maps of all images, a few of which are encoded at once."""
    parts = [vqvae.encode(some.to(vqvae.device)) for some in images.split(200)]
    return [torch.cat([part.cpu() for part in scale]) for scale in zip(*parts, strict=True)]


def _perturbed(vqvae: Any, token_maps: list[Tensor]) -> list[Tensor]:
    others = vqvae.config.vocabulary - 1
    return perturbed_tokens(token_maps, vqvae.codes, share=PERTURBED, nearest=min(10, others))


def _decoded(vqvae: Any, token_maps: list[Tensor]) -> Tensor:
    """The images of all token maps, a few of which are decoded at once."""
    parts = zip(*(tokens.to(vqvae.device).split(200) for tokens in token_maps), strict=True)
    return torch.cat([vqvae.decode(list(part)).cpu() for part in parts])
