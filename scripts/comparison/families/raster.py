"""Raster-order autoregression over the tokens of one map, as VQ-GAN has it (arXiv 2012.09841): what next-scale is for.

The last map of a residual multi-scale tokenizer holds only what the coarser ones left over and does not decode alone.
So, as in the comparison of the VAR paper (arXiv 2404.02905, Table 1), each order has a tokenizer of its own kind: here
the same network with a single map of the last one's size, trained for the same share of the seconds. It has as many
codes; eight times as many gained 0.4 dB on the digits, and are harder to predict. All else is next-scale's own.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from comparison.contenders.contender import Contender, ModelPlan, Row
from comparison.contenders.var import VARContender
from comparison.families.positions import SequenceConfig, SequenceRun, SequenceTokenizer
from comparison.report.figures import stage_strip
from var.data.base import ImageData
from var.evaluation.report.html import Html, figure
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings
from var.tokenizer import Tokenizer
from var.vqvae import VQVAE

STRIP_COLUMNS = 9


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
        # phi belongs to upsampling.
        vqvae = replace(tokenizer.vqvae, sides=tokenizer.vqvae.sides[-1:], repeats=(), phi_ratio=0.0)
        count = vqvae.schedule.length
        model = SequenceConfig(**{**_fields(transformer.transformer), "sides": (1,) * count, "repeats": ()})
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

    def process(self, pipeline: VARPipeline, sampling: SamplingSettings, call: Mapping[str, Any]) -> Html:
        """The image after some of the tokens."""
        out = pipeline(sampling=sampling, return_intermediates=True, **call)
        assert out.intermediates is not None
        chosen = torch.linspace(0, len(out.intermediates) - 1, STRIP_COLUMNS).round().long().unique().tolist()
        return figure(
            stage_strip([out.intermediates[i].cpu() * 2 - 1 for i in chosen], [str(i + 1) for i in chosen]),
            "Each column is the image decoded after so many tokens, each of which costs a pass of the transformer.",
            alt="A sample after more and more of its tokens, from the top to the bottom.",
            title="Raster AR: from the top to the bottom",
        )


def _fields(config: Any) -> dict[str, Any]:
    return {one.name: getattr(config, one.name) for one in fields(config)}
