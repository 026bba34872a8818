"""The published checkpoints load by their shapes alone, into models of the published sizes."""

import json
from pathlib import Path

import pytest
import torch

from var import VARConfig, VARPipeline, VQVAEConfig
from var.original.sides import read_sides

OFFICIAL = json.loads((Path(__file__).parents[1] / "golden" / "parity" / "official_shapes.json").read_text())
TOKENIZER = "vae_ch160v4096z32.pth"
SIDES_512 = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)

# The configuration of every published transformer, and its number of parameters.
TRANSFORMERS = {
    "var_d16.pth": (VARConfig(), 310_283_520),
    "var_d20.pth": (VARConfig(depth=20, width=1280, heads=20), 600_917_136),
    "var_d24.pth": (VARConfig(depth=24, width=1536, heads=24), 1_033_399_360),
    "var_d30.pth": (VARConfig(depth=30, width=1920, heads=30), 2_010_020_356),
    "var_d36.pth": (VARConfig(sides=SIDES_512, depth=36, width=2304, heads=36, shared_adaln=True), 2_353_893_904),
}


def official(name):
    return {key: torch.empty(shape, device="meta") for key, shape in OFFICIAL[name]["keys"].items()}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_published_pairs_load_on_the_meta_device(name):
    config, parameters = TRANSFORMERS[name]
    pipe = VARPipeline.from_original(official(TOKENIZER), official(name))
    assert pipe.transformer.config == config
    assert pipe.vqvae.config == VQVAEConfig(sides=config.sides)
    assert count(pipe.transformer) == parameters
    assert count(pipe.vqvae) == 108_948_355
    assert {parameter.device.type for parameter in pipe.transformer.parameters()} == {"meta"}
    assert tuple(OFFICIAL[name]["sides"]) == config.sides
    assert OFFICIAL[name]["heads"] == config.heads == config.depth == config.width // 64
    assert pipe.label_of("golden retriever") == 207


def test_the_index_of_scales_tells_the_sides_where_it_has_values():
    transformer = official("var_d36.pth")
    index = torch.cat([torch.full((side**2,), scale) for scale, side in enumerate(SIDES_512)])
    assert read_sides({**transformer, "lvl_1L": index[None]}, None, "the file") == SIDES_512
    assert read_sides(transformer, None, "the file") == SIDES_512


def test_every_published_file_is_covered():
    assert set(OFFICIAL) == {TOKENIZER, *TRANSFORMERS}
