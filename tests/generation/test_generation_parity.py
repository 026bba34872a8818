"""The architecture is the published one: same names (mapped), same tokens, same numbers."""

import json

import pytest
import torch
from official_layout import convert_transformer, convert_vqvae, weights_by_formula
from safetensors.torch import load_file

from var.generation.pipeline import VARPipeline
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE, VQVAEConfig


def load_case(folder, name):
    case = json.loads((folder / f"{name}.json").read_text())
    expected = load_file(folder / f"{name}.safetensors")
    vae, var = case["vae"], case["var"]
    sides = tuple(vae["v_patch_nums"])
    vqvae = VQVAE(
        VQVAEConfig(
            sides=sides,
            base_channels=vae["ch"],
            width=vae["z_channels"],
            vocabulary=vae["vocab_size"],
            phi=vae["share_quant_resi"],
        )
    )
    transformer = VAR(
        VARConfig(
            sides=sides,
            vocabulary=vae["vocab_size"],
            code_width=vae["z_channels"],
            num_classes=var["num_classes"],
            depth=var["depth"],
            width=var["embed_dim"],
            heads=var["num_heads"],
            l2_attention=var["attn_l2_norm"],
            shared_adaln=var["shared_aln"],
        )
    )
    official = weights_by_formula(case["vae_keys"], case["vae_filled"], case["seed"])
    assert sum(float(w.double().abs().sum()) for w in official.values()) == pytest.approx(case["vae_checksum"])
    official |= {k: torch.zeros(s) for k, s in case["vae_keys"].items() if k not in official}
    vqvae.load_state_dict(convert_vqvae(official, levels=5))
    official = weights_by_formula(case["var_keys"], case["var_filled"], case["seed"] + 1)
    assert sum(float(w.double().abs().sum()) for w in official.values()) == pytest.approx(case["var_checksum"])
    transformer.load_state_dict(convert_transformer(official))
    return VARPipeline(vqvae, transformer), expected, case


@pytest.fixture(scope="module")
def tiny():
    from pathlib import Path

    return load_case(Path(__file__).parents[1] / "golden" / "parity", "tiny")


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def test_tokenizer_agrees_with_the_published_one(tiny):
    pipe, expected, _ = tiny
    assert relative(pipe.vqvae.latent(expected["image"]), expected["encoder_features"]) < 1e-4
    token_maps = pipe.vqvae.encode(expected["image"])
    tokens = pipe.transformer.scales.flatten(token_maps)
    assert torch.equal(tokens, expected["tokens"].long())
    assert relative(pipe.vqvae.decode(token_maps), expected["reconstruction"]) < 1e-4
    assert relative(pipe.vqvae.teacher_inputs(token_maps), expected["transformer_input"]) < 1e-4


@torch.no_grad()
def test_transformer_agrees_with_the_published_one(tiny):
    pipe, expected, _ = tiny
    labels, inputs = expected["labels"].long(), expected["transformer_input"]
    assert relative(pipe.transformer(labels, inputs), expected["logits"]) < 1e-4
    null = torch.full_like(labels, pipe.transformer.config.num_classes)
    assert relative(pipe.transformer(null, inputs), expected["logits_unconditional"]) < 1e-4


def test_greedy_generation_agrees_with_the_published_one(tiny):
    pipe, expected, case = tiny
    labels = expected["labels"].long()
    out = pipe(labels, guidance_scale=1 + case["cfg"], top_k=1, seeds=[0, 1], output_type="pt", progress=False)
    assert torch.equal(pipe.transformer.scales.flatten(out.tokens), expected["greedy_tokens"].long())
    assert relative(out.images, expected["greedy_image"]) < 1e-4
