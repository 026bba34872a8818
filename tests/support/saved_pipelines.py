"""Untrained pipelines in folders, for the commands to load."""

import torch

from diffusion_baseline import DiffusionPipeline, UNet, UNetConfig
from var import VAR, VQVAE, VARConfig, VARPipeline, VQVAEConfig

NAMES = ["ant", "bee", "cat, felis catus", "dog", "eel"]


def var_pipeline(sides=(1, 2, 3), classes=5):
    torch.manual_seed(7)
    vqvae = VQVAEConfig(
        sides=sides,
        in_channels=1,
        base_channels=8,
        channel_multipliers=(1, 2),
        residual_blocks=1,
        attention=False,
        norm_groups=4,
        width=4,
        vocabulary=16,
        phi=2,
    )
    transformer = VARConfig(sides=sides, vocabulary=16, code_width=4, num_classes=classes, depth=2, width=32, heads=4)
    pipeline = VARPipeline(VQVAE(vqvae), spread(VAR(transformer)), class_names=NAMES if classes == 5 else None)
    with torch.no_grad():
        pipeline.vqvae.quantizer.codebook.weight.normal_()
        pipeline.transformer.head.weight.mul_(2)
    return pipeline


def diffusion_pipeline(size=(4, 8), classes=5, timesteps=20):
    torch.manual_seed(0)
    config = UNetConfig(
        num_classes=classes,
        image_size=size,
        image_channels=1,
        base_channels=8,
        multipliers=(1, 2),
        residual_blocks=1,
        attention_levels=(),
        embedding_width=16,
        norm_groups=4,
    )
    return DiffusionPipeline(spread(UNet(config)), num_timesteps=timesteps, class_names=NAMES if classes == 5 else None)


def spread(model):
    """Move the weights away from their start, where labels and noise matter little."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model
