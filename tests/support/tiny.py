"""Untrained models that cost next to nothing: one size of each, with what a test changes of it.

Seed the global stream first where weights matter.
"""

import copy

import torch

from diffusion_baseline import DiffusionPipeline, UNet, UNetConfig
from diffusion_baseline.classifier.model import NoisyClassifier, NoisyClassifierConfig
from var import VAR, VQVAE, VARConfig, VARPipeline, VQVAEConfig

NAMES = ["ant", "bee", "cat, felis catus", "dog", "eel"]


def vqvae_config(**changes):
    size = {"base_channels": 8, "channel_multipliers": (1, 2), "residual_blocks": 1, "norm_groups": 4}
    codes = {"width": 4, "vocabulary": 16, "phi": 2}
    return VQVAEConfig(**{"sides": (1, 2, 3), "in_channels": 1, "attention": False, **size, **codes, **changes})


def transformer_config(**changes):
    tokens = {"sides": (1, 2, 3), "vocabulary": 16, "code_width": 4}
    return VARConfig(**{**tokens, "num_classes": 5, "depth": 2, "width": 16, "heads": 2, **changes})


def unet_config(**changes):
    images = {"num_classes": 3, "image_size": (4, 8), "image_channels": 1}
    size = {"base_channels": 8, "multipliers": (1, 2), "residual_blocks": 1, "attention_levels": ()}
    return UNetConfig(**{**images, **size, "embedding_width": 16, "norm_groups": 4, **changes})


def tiny_vqvae(**changes):
    """Its codes are spread, so that tokens differ from place to place."""
    vqvae = VQVAE(vqvae_config(**changes))
    with torch.no_grad():
        vqvae.quantizer.codebook.weight.normal_()
    return vqvae


def tiny_transformer(**changes):
    return VAR(transformer_config(**changes))


def tiny_unet(**changes):
    return UNet(unet_config(**changes))


def spread(model):
    """Move the weights away from their start, where biases are zero, gates nearly so, and labels matter little."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def tiny_pipeline(sides=(1, 2, 3), class_names=None, **changes):
    """A VARPipeline, always the same; images, tokens and labels matter. `changes` are of the transformer."""
    torch.manual_seed(7)
    vqvae = VQVAE(vqvae_config(sides=sides))
    transformer = tiny_transformer(**{"sides": sides, "width": 32, "heads": 4, **changes})
    with torch.no_grad():
        vqvae.quantizer.codebook.weight.normal_()
        spread(transformer).head.weight.mul_(2)
    return VARPipeline(vqvae, transformer, class_names=class_names)


def tiny_partner(pipeline, **changes):
    """A VARPipeline of the same tokens with another transformer, always the same."""
    return VARPipeline(copy.deepcopy(pipeline.vqvae), spread(tiny_pipeline(**changes).transformer))


def tiny_diffusion_pipeline(class_names=None, timesteps=20, **changes):
    """A DiffusionPipeline, always the same. `changes` are of the network."""
    torch.manual_seed(0)
    unet = spread(tiny_unet(**{"num_classes": 5, **changes}))
    return DiffusionPipeline(unet, num_timesteps=timesteps, class_names=class_names)


def tiny_classifier(**changes):
    """A classifier of the noisy images of `tiny_diffusion_pipeline`, always the same."""
    torch.manual_seed(3)
    size = {"num_classes": 5, "image_size": (4, 8), "image_channels": 1, "num_timesteps": 20}
    shape = {"base_channels": 8, "multipliers": (1, 2), "embedding_width": 16, "norm_groups": 4}
    return spread(NoisyClassifier(NoisyClassifierConfig(**{**size, **shape, **changes}))).eval()
