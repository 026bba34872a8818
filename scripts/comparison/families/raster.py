"""Raster-order autoregression over the tokens of one map, as VQ-GAN has it (arXiv 2012.09841): what next-scale is for.

The last map of a residual multi-scale tokenizer holds only what the coarser ones left over and does not decode alone.
So, as in the comparison of the VAR paper (arXiv 2404.02905, Table 1), each order has a tokenizer of its own kind: here
the same network with a single map of about as many tokens, trained for the same share of the seconds. It has as many
codes; eight times as many gained 0.4 dB on the digits, and are harder to predict. All else is next-scale's own: a
map that is drawn in as many passes as it has tokens.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import log
from typing import Any

import torch

from comparison.contenders.contender import Contender, ModelPlan, Row
from comparison.contenders.var import VARContender
from comparison.report.processes import Process
from var.data.base import ImageData
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings
from var.vqvae import VQVAEConfig


class RasterContender(VARContender):
    """The next-scale transformer in raster order."""

    key, title, word, color = "raster", "Raster AR", "raster AR", "green"
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
        drawn = {"passes": (count,), "order": "raster", "told": "code"}
        model = replace(transformer.transformer, sides=vqvae.sides, repeats=(), **drawn)
        headline, *grid = (
            replace(each.unlisted(), guidance_schedule="constant") for each in (plan.headline, *plan.grid)
        )
        run = replace(transformer.for_any_maps(), transformer=model, sampling=headline)
        return replace(
            plan,
            runs={"tokenizer": replace(tokenizer, vqvae=vqvae), "transformer": run},
            steps=count,
            walk=(count,),
            headline=headline,
            sweep=tuple(grid[:1]),
            grid=tuple(grid),
        )

    def about(self, row: Row, report: Any) -> str:
        """Token after token."""
        return f"A transformer writes an image as {row['steps']} tokens of one map, row by row, one at each step."

    @torch.no_grad()
    def process(self, pipeline: VARPipeline, sampling: SamplingSettings, call: Mapping[str, Any]) -> Process:
        """The image after some of the tokens."""
        vqvae = pipeline.vqvae
        (tokens,) = pipeline(sampling=sampling, **call).tokens
        latent, places = vqvae.contribution(tokens, 0), torch.arange(tokens[0].numel(), device=tokens.device)
        known = [(places <= place).view(tokens.shape[1:]) for place in places]
        return Process(
            title="Raster AR: from the top to the bottom",
            caption="Each column is the image decoded after so many tokens, each of which costs a pass of the "
            "transformer.",
            alt="A sample after more and more of its tokens, from the top to the bottom.",
            stages=[vqvae.decode_latent(latent * some).cpu() for some in known],
            names=[str(number) for number in range(1, len(known) + 1)],
        )


def single_map(config: VQVAEConfig) -> VQVAEConfig:
    """A tokenizer of one map of about as many tokens as all maps of this one: it may lack its lowest levels."""
    levels, (height, width) = len(config.channel_multipliers), config.schedule.shapes[-1]
    sizes = {levels - up: (height << up, width << up) for up in range(levels)}
    kept = min(sizes, key=lambda each: abs(log(sizes[each][0] * sizes[each][1] / config.schedule.length)))
    multipliers = config.channel_multipliers[:kept]
    # phi belongs to upsampling.
    return replace(config, sides=(sizes[kept],), repeats=(), channel_multipliers=multipliers, phi_ratio=0.0)
