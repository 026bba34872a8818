"""The numbers of a plan, and how they are said."""

from dataclasses import replace

import pytest
import torch

from var.data import ArrayData
from var.runs.cost import Cost
from var.runs.plan import Network, Plan, learning_rate
from var.runs.settings import DataSettings, RunSettings
from var.training import TrainingConfig
from var.training.optimization import learning_rate_factor


def make_plan(**training):
    settings = {"steps": 1000, "batch_size": 64, "ema_decay": 0.99, **training}
    return Plan(
        kind="a run",
        settings=RunSettings(data=DataSettings(source="pictures"), training=TrainingConfig(**settings)),
        data=ArrayData(torch.zeros(6400, 1, 8, 8), [0] * 6400, classes=["a", "b", "c"]),
        networks=(Network(name="model", parameters=1000), Network(name="tokenizer", parameters=500, trained=False)),
        shapes=((1, 1), (2, 2), (4, 4)),
        image_cost=Cost(flops=7_000_000, kept=3000),
        processes=2,
        notes=("by the way",),
    )


def test_the_numbers_follow_from_their_parts():
    plan = make_plan(accumulation=4)
    assert plan.parameters == 1000
    assert plan.step_flops == 7_000_000 * 64
    assert plan.epochs == 10
    assert plan.micro_batch == 8
    assert plan.memory == {
        "weights": 6000,
        "gradients": 4000,
        "optimiser": 8000,
        "averaged weights": 4000,
        "activations": 24_000,
    }


def test_bf16_adds_copies_of_the_weights_and_no_average_takes_none():
    memory = make_plan(mixed_precision="bf16", ema_decay=0.0).memory
    assert memory["16-bit copies"] == 2000
    assert "averaged weights" not in memory


def test_muon_remembers_half_of_adamw_and_multiplies_itself():
    plan = replace(make_plan(optimizer="muon"), optimizer_flops=500)
    assert plan.memory["optimiser"] == 4000
    assert plan.step_flops == 7_000_000 * 64 + 500


def test_the_text_says_them_all():
    lines = make_plan(accumulation=4).text().splitlines()
    assert lines[0] == "a run in float32"
    assert [line.split("  ", 2)[-1].strip().replace("  ", " ") for line in lines[1:3]] != []
    text = "\n".join(lines)
    for part in (
        "1,000 parameters",
        "500 parameters, frozen",
        "pictures, 8x8: 6,400 images in 3 classes",
        "21 per image, in maps of 1x1 2x2 4x4",
        "64 images (2 processes x 4 parts x 8), 1,344 tokens, 448 MFLOP",
        "about 44.9 KiB per process: weights 5.86 KiB",
        "1,000 steps = 10.0 epochs, 448 GFLOP",
        "by the way",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schedule": "constant", "warmup": 0.0}, "0.001 from the start, then constant"),
        ({"warmup": 0.1}, "up to 0.001 in 10 steps, then cosine down to 0 at step 100"),
        (
            {"schedule": "linear", "warmup": 0.1, "hold": 0.4, "final_learning_rate": 0.01},
            "up to 0.001 in 10 steps, constant up to step 50, then linear down to 1e-05 at step 100",
        ),
    ],
)
def test_the_schedule_in_words_is_the_one_that_trains(settings, words):
    training = TrainingConfig(steps=100, learning_rate=1e-3, **settings)
    assert learning_rate(training) == words
    if "10 steps" in words:
        assert learning_rate_factor(training, 9) == pytest.approx(1)
        assert learning_rate_factor(training, 8) < 1
    if "up to step 50" in words:
        assert learning_rate_factor(training, 49) == pytest.approx(1)
        assert learning_rate_factor(training, 51) < 1
