"""Numbers that no run can be meant with are refused where the settings are made, before anything is built."""

import re

import pytest
import torch

from diffusion_baseline.presets import PRESETS as UNETS
from var.cli import main
from var.errors import UserError
from var.recipes.transformer.presets import PRESETS as TRANSFORMERS
from var.recipes.vqvae.presets import PRESETS as TOKENIZERS
from var.runs import memory
from var.runs.overrides import overridden
from var.training import CheckpointPolicy, TrainingConfig

RUNS = {"vqvae": TOKENIZERS["digits"], "transformer": TRANSFORMERS["digits"], "unet": UNETS["digits"]}

WRONG = [
    # F16: at one door only, or nowhere
    *[("vqvae", f"training.{name}") for name in ("weight_decay=-1", "weight_decay=1e9", "learning_rate=-1e-3")],
    *[("vqvae", f"training.{name}") for name in ("learning_rate=0", "learning_rate=1e9", "epsilon=0", "clip_norm=-1")],
    *[("vqvae", f"training.{name}") for name in ("steps=0", "steps=1000000000000000000", "steps=-5", "steps=1e300")],
    *[("vqvae", f"training.{name}") for name in ("batch_size=1000000000000", "batch_size=0", "log_every=0")],
    *[("vqvae", f"training.{name}") for name in ("accumulation=0", "accumulation=1e12", "warmup=1.5", "warmup=-0.1")],
    *[("vqvae", f"training.{name}") for name in ("ema_decay=-1", "ema_decay=2", "betas=(1,0.9)", "momentum=1")],
    *[("vqvae", f"vqvae.{name}") for name in ("commitment=nan", "commitment=-1", "commitment=inf", "phi_ratio=2")],
    *[("vqvae", f"data.{name}") for name in ("crop=0.5", "crop=1e9", "flip=2", "flip=-1")],
    *[
        ("vqvae", f"evaluation.{name}")
        for name in ("every=-1", "samples=1e12", "grid=0", "grid=1e9", "judge_steps=1e12")
    ],
    *[("vqvae", f"checkpoints.{name}") for name in ("every=0", "keep=0", "keep=1", "every=1e18")],
    *[("vqvae", f"losses.{name}") for name in ("l2=-1", "patch_layers=99", "patch_channels=1e9", "dino_blocks=()")],
    *[("vqvae", f"losses.{name}") for name in ("discriminator_betas=(0.5,1.5)", "dino_blocks=(-1,)", "lecam=1e300")],
    *[("vqvae", f"losses.{name}") for name in ("alignment=-1", "alignment=1e300", "alignment_margin=2.1")],
    ("transformer", "label_drop=1.5"),
    ("unet", "label_drop=-1"),
    # F14: built before they were looked at
    *[("vqvae", f"vqvae.{name}") for name in ("vocabulary=1000000000000", "width=2000000000", "base_channels=1e9")],
    *[
        ("vqvae", f"vqvae.{name}")
        for name in ("residual_blocks=100000", "phi=1e9", "sides=(1,100000)", "in_channels=1e9")
    ],
    *[("vqvae", f"vqvae.{name}") for name in ("channel_multipliers=(1,100000)", "norm_groups=-1", "vocabulary=1")],
    ("vqvae", f"vqvae.channel_multipliers=({','.join('1' * 40)})"),
    *[("transformer", f"transformer.{name}") for name in ("width=2000000000", "depth=100000", "heads=0", "depth=0")],
    *[("transformer", f"transformer.{name}") for name in ("mlp_ratio=-1", "mlp_ratio=1e9", "mlp_ratio=1e-9")],
    *[("transformer", f"transformer.{name}") for name in ("embedding_std=-1", "gate_std=-1", "num_classes=1e12")],
    *[("transformer", f"tokens.{name}") for name in ("variants=0", "variants=1e12", "temperature=-1")],
    *[("unet", f"unet.{name}") for name in ("base_channels=1e9", "residual_blocks=1e5", "embedding_width=1e12")],
    *[("unet", f"unet.{name}") for name in ("multipliers=(1,100000)", "image_size=1e6", "head_width=1e9", "dropout=1")],
    *[("unet", name) for name in ("num_timesteps=1e12", "num_timesteps=0", "sampling_steps=0", "sampling_steps=1e12")],
    ("unet", "guidance_scale=nan"),
]


@pytest.mark.parametrize(("run", "text"), WRONG)
def test_a_number_out_of_range_is_refused_with_its_field(run, text):
    with pytest.raises(UserError) as caught:
        overridden(RUNS[run], assignments=[text])
    message = str(caught.value)
    name, _, value = text.partition("=")
    assert name.rpartition(".")[2] in message
    assert len(message) < 400
    assert "got" in message
    assert ";" in message, value


@pytest.mark.parametrize("values", [{"every": 0}, {"keep": 1}, {"every": 10**18}, {"keep": 2.5}, {"every": "5"}])
def test_a_policy_out_of_range_is_refused(tmp_path, values):
    with pytest.raises(UserError):
        CheckpointPolicy(**{"folder": tmp_path, "every": 5, **values})


def test_all_presets_are_within_the_ranges():
    for run in (*TOKENIZERS.values(), *TRANSFORMERS.values(), *UNETS.values()):
        assert overridden(run) == run
    TrainingConfig(steps=10**9, batch_size=10**6, learning_rate=1000, weight_decay=0, log_every=10**9)


def test_a_model_that_cannot_fit_into_memory_is_told_before_the_first_step(tmp_path, monkeypatch, capsys):
    """F14: "can't allocate 88 GB", or killed by the system in the middle of a step."""
    assert (memory.memory_of(torch.device("cpu")) or 2**40) > 2**27
    command = ["train", "vqvae", "digits", "--preset", "digits", "--output", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--quiet", "--set", "evaluation.every=0", "--set", "vqvae.kmeans_init=false"]
    monkeypatch.setattr(memory, "memory_of", lambda device: 2_000_000)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert re.search(r"must fit into memory, but 653,513 parameters need 9\.97 MiB of 1\.91 MiB; take a smaller", error)
    assert not (tmp_path / "run" / "checkpoints").exists()
