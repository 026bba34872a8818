"""The default and the published configurations have exactly the tensors of the published checkpoints."""

import json
from pathlib import Path

import pytest
import torch
from official_layout import convert_transformer, convert_vqvae

from var import VAR, VQVAE, VARConfig, VQVAEConfig

OFFICIAL = json.loads((Path(__file__).parents[1] / "golden" / "parity" / "official_shapes.json").read_text())
SIDES_256 = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
SIDES_512 = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)
BUFFERS = ("lvl_1L", "attn_bias_for_masking", "zero_k_bias")

TRANSFORMERS = {
    "var_d16.pth": (VARConfig(), 310e6),
    "var_d20.pth": (VARConfig(depth=20, width=1280, heads=20), 600e6),
    "var_d24.pth": (VARConfig(depth=24, width=1536, heads=24), 1.0e9),
    "var_d30.pth": (VARConfig(depth=30, width=1920, heads=30), 2.0e9),
    "var_d36.pth": (VARConfig(sides=SIDES_512, depth=36, width=2304, heads=36, shared_adaln=True), 2.3e9),
}


def on_no_device(model_class, config):
    with torch.device("meta"):
        return model_class(config)


def official(name):
    return {key: torch.empty(shape, device="meta") for key, shape in OFFICIAL[name]["keys"].items()}


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_the_default_tokenizer_is_the_published_one():
    wanted = convert_vqvae(official("vae_ch160v4096z32.pth"), levels=5)
    assert len(wanted) == 324
    assert shapes(on_no_device(VQVAE, VQVAEConfig()).state_dict()) == shapes(wanted)
    assert tuple(OFFICIAL["vae_ch160v4096z32.pth"]["sides"]) == VQVAEConfig().sides == SIDES_256


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_published_transformers_by_configuration(name):
    config, published_count = TRANSFORMERS[name]
    wanted = official(name)
    assert tuple(OFFICIAL[name]["sides"]) == config.sides
    assert OFFICIAL[name]["heads"] == config.heads == config.depth == config.width // 64
    model = on_no_device(VAR, config)
    assert shapes(model.state_dict()) == shapes(convert_transformer(wanted))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == sum(tensor.numel() for key, tensor in wanted.items() if not key.endswith(BUFFERS))
    assert count == pytest.approx(published_count, rel=0.04)


def test_every_published_file_is_covered():
    assert set(OFFICIAL) == {"vae_ch160v4096z32.pth", *TRANSFORMERS}
