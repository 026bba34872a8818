"""Latent diffusion (Rombach et al. 2022, arXiv 2112.10752): the baseline's U-Net behind a variational autoencoder.

Both are trained for the family's seconds, each for its presets' share of them.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from comparison.contenders.contender import ModelPlan
from comparison.contenders.diffusion import DiffusionContender, walk_of
from diffusion_baseline.codecs import latent_size, open_codec
from diffusion_baseline.job import DiffusionJob
from diffusion_baseline.presets import PRESETS, diffusion_run
from var.autoencoder import Autoencoder
from var.configs import config_to_dict
from var.data.base import ImageData
from var.recipes.autoencoder.job import AutoencoderJob
from var.recipes.autoencoder.presets import PRESETS as AUTOENCODERS
from var.recipes.autoencoder.presets import autoencoder_run
from var.runs.job import Job


class LatentDiffusion(DiffusionContender):
    """Diffusion of latents."""

    key, title, word, color = "latent", "Latent diffusion", "latent diffusion", "cyan"
    prefix = "latent-"
    density, methods = "none", {}
    cannot = "cannot draw in one step, nor tell a likelihood of pixels, and is no better than its autoencoder decodes"

    def presets(self) -> list[str]:
        """Those that have an autoencoder and a network of its latents."""
        return [name for name in AUTOENCODERS if _latent(name) in PRESETS]

    def plan(self, preset: str, data: ImageData) -> ModelPlan:
        """The autoencoder takes channels and size of the data, the U-Net those of its latents."""
        plan = super().plan(preset, data)
        run, autoencoder = diffusion_run(_latent(preset)), autoencoder_run(preset)
        shape = plan.runs["diffusion"].unet
        config = replace(autoencoder.autoencoder, in_channels=shape.image_channels, image_size=shape.image_size)
        with torch.device("meta"):
            size = latent_size(Autoencoder(config))
        unet = replace(run.unet, num_classes=shape.num_classes, **size)
        runs = {"autoencoder": replace(autoencoder, autoencoder=config), "diffusion": replace(run, unet=unet)}
        return replace(plan, runs=runs, steps=run.num_timesteps, walk=walk_of(config_to_dict(run)))

    def job(self, stage: str, run: Any, data: ImageData, before: Mapping[str, Path]) -> Job[Any]:
        """The autoencoder first."""
        if stage == "autoencoder":
            return AutoencoderJob(settings=run, data=data)
        return DiffusionJob(settings=run, data=data, codec=open_codec(str(before["autoencoder"])))


def _latent(preset: str) -> str:
    """The preset of diffusion in the latent space of another."""
    name, _, size = preset.partition("-")
    return "-".join([name, "latent", *([size] if size else [])])
