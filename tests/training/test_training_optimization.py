"""Learning rates over time in closed form, who decays, and impossible hyperparameters."""

import math

import pytest
import torch
from torch import nn

from var.errors import UserError
from var.training import TrainingConfig
from var.training.optimization import build_optimizers, learning_rate_factor, parameter_groups


def factors(**settings):
    config = TrainingConfig(**settings)
    return [learning_rate_factor(config, step) for step in range(config.steps)]


def test_warm_up_rises_linearly_and_reaches_the_peak_at_its_last_step():
    assert factors(steps=10, warmup=0.5, schedule="constant") == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1] * 6)


def test_without_warm_up_the_first_step_is_at_the_peak():
    for schedule in ("constant", "linear", "cosine"):
        assert factors(steps=10, warmup=0.0, schedule=schedule)[0] == 1


def test_linear_fall():
    assert factors(steps=4, warmup=0.0, schedule="linear") == pytest.approx([1, 0.75, 0.5, 0.25])
    ends = factors(steps=4, warmup=0.0, schedule="linear", final_learning_rate=0.2)
    assert ends == pytest.approx([1, 0.8, 0.6, 0.4])


def test_cosine_fall():
    expected = [(1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    assert factors(steps=6, warmup=0.0, schedule="cosine") == pytest.approx(expected)
    ends = factors(steps=6, warmup=0.0, schedule="cosine", final_learning_rate=0.1)
    assert ends == pytest.approx([0.1 + 0.9 * factor for factor in expected])


def test_hold_lies_between_warm_up_and_fall():
    # 2 steps of warm-up, 4 at the peak, 4 falling.
    found = factors(steps=10, warmup=0.2, hold=0.4, schedule="linear")
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert factors(steps=8, warmup=0.5, hold=0.5, schedule="cosine")[4:] == [1] * 4


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 7, 10, 999])
@pytest.mark.parametrize(("warmup", "hold"), [(0.02, 0.0), (0.25, 0.0), (0.13, 0.31), (0.7, 0.3), (0.9, 0.1)])
def test_the_rate_rises_to_the_peak_never_above_it_and_never_rises_again(schedule, steps, warmup, hold):
    found = factors(steps=steps, warmup=warmup, hold=hold, schedule=schedule)
    assert all(0 < factor <= 1 for factor in found)
    top = found.index(max(found))
    assert found[:top] == sorted(found[:top])
    assert found[top:] == sorted(found[top:], reverse=True)


def test_the_fall_ends_near_its_final_share():
    for schedule in ("linear", "cosine"):
        assert factors(steps=1000, schedule=schedule)[-1] < 0.002
        assert factors(steps=1000, schedule=schedule, final_learning_rate=0.3)[-1] == pytest.approx(0.3, abs=0.002)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.LayerNorm(3)
        self.embedding = nn.Embedding(4, 3)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_weight_matrices_decay_and_nothing_else():
    model = Model()
    decayed, plain = parameter_groups(model, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert {id(p) for p in decayed["params"]} == {id(model.linear.weight), id(model.conv.weight)}
    rest = (model.linear.bias, model.conv.bias, *model.norm.parameters(), model.embedding.weight)
    assert {id(p) for p in plain["params"]} == {id(p) for p in rest}


def test_the_optimiser_takes_the_configuration():
    config = TrainingConfig(steps=1, learning_rate=0.25, betas=(0.5, 0.75), weight_decay=0.125)
    (optimizer,) = build_optimizers(Model(), config)
    assert optimizer.defaults["betas"] == (0.5, 0.75)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.125, 0.0]


def test_muon_takes_the_weight_matrices_and_adamw_the_rest():
    config = TrainingConfig(steps=1, optimizer="muon", learning_rate=0.25, momentum=0.5, weight_decay=0.125)
    model = Model()
    muon, adamw = build_optimizers(model, config)
    decayed, plain = parameter_groups(model, 0.125)
    for optimizer, group in ((muon, decayed), (adamw, plain)):
        (found,) = optimizer.param_groups
        assert [id(p) for p in found["params"]] == [id(p) for p in group["params"]]
        assert (found["lr"], found["weight_decay"]) == (0.25, group["weight_decay"])
    assert muon.param_groups[0]["momentum"] == 0.5
    assert isinstance(adamw, torch.optim.AdamW)


def test_a_model_without_biases_learns_too():
    model = nn.Linear(2, 2, bias=False)
    for kind in ("adamw", "muon"):
        model.weight.grad = torch.ones(2, 2)
        before = model.weight.detach().clone()
        for optimizer in build_optimizers(model, TrainingConfig(steps=1, optimizer=kind)):
            optimizer.step()
        assert not torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"log_every": -1}, "log_every must be at least 1, got -1"),
        ({"warmup": 1.5}, r"warmup is a share and must lie in \[0, 1\], got 1.5"),
        ({"hold": -0.5}, "hold is a share"),
        ({"ema_decay": 2.0}, "ema_decay is a share"),
        ({"final_learning_rate": -1.0}, "final_learning_rate is a share"),
        ({"accumulation": 0}, "accumulation must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"clip_norm": -1.0}, "clip_norm must be positive, got -1.0"),
        ({"epsilon": float("nan")}, "epsilon must be a finite number, got nan"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
    ],
)
def test_impossible_hyperparameters(settings, message):
    with pytest.raises(UserError, match=message):
        TrainingConfig(**{"steps": 10, **settings})


def test_warm_up_and_hold_are_shares_of_one_run():
    with pytest.raises(ValueError, match=r"warmup and hold are shares of one run, got 0\.6 and 0\.5"):
        TrainingConfig(steps=10, warmup=0.6, hold=0.5)
