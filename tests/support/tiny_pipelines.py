"""Untrained pipelines with weights spread so that images, tokens and labels matter."""

import torch

from var import VAR, VQVAE, VARConfig, VARPipeline, VQVAEConfig


def make_pipeline(sides=(1, 2, 3), **settings):
    torch.manual_seed(7)
    vqvae = VQVAE(
        VQVAEConfig(
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
    )
    transformer = VAR(
        VARConfig(
            sides=sides, vocabulary=16, code_width=4, num_classes=5, **{"depth": 2, "width": 32, "heads": 4, **settings}
        )
    )
    with torch.no_grad():
        vqvae.quantizer.codebook.weight.normal_()
        for parameter in transformer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        transformer.head.weight.mul_(2)
    return VARPipeline(vqvae, transformer)
