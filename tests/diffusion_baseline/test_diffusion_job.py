"""`python -m diffusion_baseline train` as a user calls it, and its planned cost against a real step."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from diffusion_baseline import DiffusionPipeline, UNet, UNetConfig
from diffusion_baseline.cli import main
from diffusion_baseline.job import DiffusionJob, unet_cost
from diffusion_baseline.presets import PRESETS, diffusion_run
from diffusion_baseline.task import DiffusionTask
from var.conditions import Condition
from var.data import open_data
from var.data.batches import Batch
from var.errors import UserError
from var.runs.overrides import settings_from_dict, settings_to_dict

TINY = [
    "training.steps=6",
    "training.batch_size=8",
    "training.log_every=2",
    "evaluation.every=3",
    "evaluation.samples=20",
    "evaluation.grid=9",
    "evaluation.judge_steps=3",
    "checkpoints.every=2",
    "sampling_steps=2",
    "num_timesteps=20",
    "unet.base_channels=8",
    "unet.embedding_width=16",
    "unet.norm_groups=4",
]


def train(output, *others, data="digits", settings=()):
    options = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    command = ["train", str(data), "--preset", "digits", "--output", str(output), "--quiet", "--device", "cpu"]
    return main([*command, *options, *others])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("ddpm") / "run"
    assert train(folder) == 0
    return folder


def test_a_run_leaves_a_pipeline_and_its_story(run):
    pipe = DiffusionPipeline.from_pretrained(run)
    assert pipe.class_names == tuple("0123456789")
    assert (pipe.schedule.num_timesteps, pipe.unet.config.base_channels) == (20, 8)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "fd_digits" in row] == [3, 6]
    assert [row["step"] for row in rows if "loss" in row] == [2, 4, 6]
    assert len(list((run / "samples").glob("*.png"))) == 2
    best = UNet.from_pretrained(run / "checkpoints" / "best")
    assert best.config == pipe.unet.config
    assert pipe([3], num_inference_steps=2, seeds=[0], progress=False).images[0].size == (8, 8)


def test_a_run_called_again_says_what_it_is(run, capsys):
    assert train(run) == 0
    assert "is a finished run of 6 steps" in capsys.readouterr().out
    assert train(run, settings=["prediction=eps"]) == 2
    assert "prediction was 'v', now 'eps'" in capsys.readouterr().err


@pytest.fixture
def two_classes(tmp_path):
    """A folder of two classes of digits as PNGs: ones, and a class that the digits do not have."""
    data = open_data("digits")
    for index in range(16):
        folder = tmp_path / "data" / ("1" if index % 2 else "curl")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = ((data.load(index)[0] + 1) * 127.5).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return tmp_path / "data"


def test_fine_tuning_takes_over_weights_and_replaces_classes(run, two_classes, tmp_path, capsys):
    settings = ["training.steps=2", "training.learning_rate=1e-6", "training.ema_decay=0", "evaluation.every=0"]
    assert train(tmp_path / "run", "--init", str(run), data=two_classes, settings=settings) == 0
    assert "10 classes before, 2 now, 1 of them known by name" in capsys.readouterr().out
    before, after = DiffusionPipeline.from_pretrained(run), DiffusionPipeline.from_pretrained(tmp_path / "run")
    assert after.class_names == ("1", "curl")
    old, new = before.unet.label.weight, after.unet.label.weight
    torch.testing.assert_close(new, old[[1, 10, 10]], rtol=0, atol=1e-4)
    torch.testing.assert_close(after.unet.head.weight, before.unet.head.weight, rtol=0, atol=1e-4)
    capsys.readouterr()
    assert train(tmp_path / "no", "--init", str(run), settings=["unet.base_channels=16"]) == 2
    assert "unet.base_channels is fixed by the weights to start from, 8, got 16" in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_all_presets_return_from_a_run_file(name):
    chosen = diffusion_run(name)
    assert settings_from_dict(type(chosen), settings_to_dict(chosen)) == chosen


def job(data, name, *assignments):
    arguments = argparse.Namespace(data=data, preset=name, init=None, files=[], assignments=assignments, seed=None)
    vars(arguments).update(quiet=True, on_bad_image="error", plan=True, output=Path("none"))
    return DiffusionJob.of(arguments)


def test_what_the_data_give_is_not_replaced_without_a_word():
    with pytest.raises(UserError, match=r"unet\.num_classes is given by the data, 10, got 7; leave it out"):
        job("digits", "digits", "unet.num_classes=7")
    assert job("digits", "digits", "unet.num_classes=10").settings.unet.num_classes == 10


def test_the_plan_counts_what_is_trained():
    found = job("shapes", "shapes-32")
    plan = found.plan(processes=1)
    model = UNet(found.settings.unet)
    assert plan.parameters == sum(weight.numel() for weight in model.parameters())
    text = plan.text()
    assert "50,000 images in 12 classes" in text
    assert "tokens" not in text


def test_the_network_costs_what_a_step_takes():
    config = UNetConfig(
        num_classes=3,
        image_size=16,
        base_channels=16,
        multipliers=(1, 2),
        residual_blocks=1,
        attention_levels=(1,),
        head_width=16,
        embedding_width=32,
        norm_groups=8,
    )
    settings = settings_from_dict(
        type(diffusion_run("digits")), settings_to_dict(diffusion_run("digits")) | {"unet": settings_to_dict(config)}
    )
    pipeline = settings.pipeline()
    images, whole = torch.rand(2, 3, 16, 16) * 2 - 1, torch.arange(2)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss, _ = DiffusionTask(pipeline).loss(
            pipeline.unet.train(), Batch(images, Condition.of(whole), whole), torch.Generator().manual_seed(0)
        )
        loss.backward()
    with torch.device("meta"):
        unet = UNet(config)
    assert unet_cost(unet, settings).flops == pytest.approx(counter.get_total_flops() / 2, rel=0.02)
