"""Raster-order autoregression over the tokens of one map, as VQ-GAN has it (arXiv 2012.09841): what next-scale is for.

The last map of a residual multi-scale tokenizer holds only what the coarser ones left over and does not decode alone.
So, as in the comparison of the VAR paper (arXiv 2404.02905, Table 1), each order has a tokenizer of its own kind: here
the same network with a single map of about as many tokens, trained for the same share of the seconds. It has as many
codes; eight times as many gained 0.4 dB on the digits, and are harder to predict. All else is next-scale's own.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from math import log
from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender, ModelPlan, Row
from comparison.contenders.var import VARContender
from comparison.families.positions import SequenceConfig, SequenceRun, SequenceTokenizer
from comparison.report.processes import Process
from var.data.base import ImageData
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings
from var.tokenizer import Tokenizer
from var.vqvae import VQVAE, VQVAEConfig


class RasterContender(VARContender):
    """The next-scale transformer in raster order."""

    key, title, word, color = "raster", "Raster AR", "raster AR", "green"
    run = SequenceRun
    samplers = {"raster": "v"}  # noqa: RUF012 (never changed)
    cannot = "tells no likelihood of pixels, only of tokens, and takes a pass for each of them"
    # Numbers and pictures of a tokenizer are those of the multi-scale one.
    controls, health, details = Contender.controls, Contender.health, Contender.details

    def plan(self, preset: str, data: ImageData) -> ModelPlan:
        """The preset's models with one map; guidance does not rise along it."""
        plan = super().plan(preset, data)
        tokenizer, transformer = plan.runs["tokenizer"], plan.runs["transformer"]
        vqvae = single_map(tokenizer.vqvae)
        count = vqvae.schedule.length
        sides = {"sides": (1,) * count, "repeats": (), "passes": ()}
        model = SequenceConfig(**{**_fields(transformer.transformer), **sides})
        headline, *grid = (replace(each, guidance_schedule="constant") for each in (plan.headline, *plan.grid))
        run = SequenceRun(**{**_fields(transformer), "transformer": model, "sampling": headline})
        return replace(
            plan,
            runs={"tokenizer": replace(tokenizer, vqvae=vqvae), "transformer": run},
            steps=count,
            headline=headline,
            sweep=tuple(grid[:1]),
            grid=tuple(grid),
        )

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Position by position."""
        return SequenceTokenizer.of(VQVAE.from_pretrained(folder))

    def about(self, row: Row, report: Any) -> str:
        """Token after token."""
        return f"A transformer writes an image as {row['steps']} tokens of one map, row by row, one at each step."

    def process(self, pipeline: VARPipeline, sampling: SamplingSettings, call: Mapping[str, Any]) -> Process:
        """The image after some of the tokens."""
        out = pipeline(sampling=sampling, return_intermediates=True, **call)
        assert out.intermediates is not None
        return Process(
            title="Raster AR: from the top to the bottom",
            caption="Each column is the image decoded after so many tokens, each of which costs a pass of the "
            "transformer.",
            alt="A sample after more and more of its tokens, from the top to the bottom.",
            stages=[stage.cpu() * 2 - 1 for stage in out.intermediates],
            names=[str(place + 1) for place in range(len(out.intermediates))],
        )


def single_map(config: VQVAEConfig) -> VQVAEConfig:
    """A tokenizer of one map of about as many tokens as all maps of this one: it may lack its lowest levels."""
    levels, (height, width) = len(config.channel_multipliers), config.schedule.shapes[-1]
    sizes = {levels - up: (height << up, width << up) for up in range(levels)}
    kept = min(sizes, key=lambda each: abs(log(sizes[each][0] * sizes[each][1] / config.schedule.length)))
    multipliers = config.channel_multipliers[:kept]
    # phi belongs to upsampling.
    return replace(config, sides=(sizes[kept],), repeats=(), channel_multipliers=multipliers, phi_ratio=0.0)


def _fields(config: Any) -> dict[str, Any]:
    return {one.name: getattr(config, one.name) for one in fields(config)}
