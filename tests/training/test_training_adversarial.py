"""Tasks that are more than a model and a loss: an opponent, a warm-up, warnings; and what a refused step leaves."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.utils.checkpoint import checkpoint
from training_runs import CONFIG, images_of
from training_tasks import Network, Rich, make_data

from var.errors import UserError
from var.randomness import keyed_generator
from var.training import (
    AdversarialTask,
    CheckpointPolicy,
    NonFiniteLossError,
    StatefulTask,
    SteppedTask,
    TrainingConfig,
    WaitingTask,
    train,
)

QUIET = {"progress": False, "device": "cpu"}


class Duel:
    """A number against a number: closed forms for both steps."""

    def __init__(self, start=0.0):
        self.model = nn.Linear(1, 1, bias=False)
        self.opponent = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False).requires_grad_(False))
        for parameter in (*self.model.parameters(), *self.opponent.parameters()):
            nn.init.constant_(parameter, 1.0)
        self.opponent_training = TrainingConfig(
            steps=1, learning_rate=0.01, betas=(0.0, 0.9), weight_decay=0.5, clip_norm=100.0
        )
        self.seen = []

    def loss(self, model, batch, generator):
        value = model(torch.ones(1, 1))
        self.seen.append(("model", batch, generator.initial_seed(), self.trainable(), self.opponent[0].weight.item()))
        return self.opponent(value).sum(), {}

    def opponent_loss(self, opponent, batch, generator):
        self.seen.append(("opponent", batch, generator.initial_seed(), self.trainable(), self.model.weight.item()))
        return -opponent(torch.ones(1, 1)).sum(), {"opponent_note": 3.0}

    def trainable(self):
        return [parameter.requires_grad for parameter in self.opponent.parameters()]


def test_the_opponent_learns_after_the_model_with_its_own_settings_at_the_same_schedule():
    task = Duel()
    config = TrainingConfig(
        steps=4, batch_size=8, learning_rate=0.1, weight_decay=0.0, warmup=0.0, schedule="linear", log_every=1
    )
    result = train(task, make_data(), config, **QUIET)
    # Adam without momentum and a constant gradient sign moves by the rate in the first step; decay acts on the weight.
    first = task.seen[:3]
    assert [name for name, *_ in first] == ["model", "opponent", "model"]
    assert first[0][1] is first[1][1]  # the very same batch
    assert first[0][2] == keyed_generator("loss", 0, 0, 0).initial_seed()
    assert first[1][2] == keyed_generator("opponent", 0, 0, 0).initial_seed()
    assert first[0][3] == [False, False]
    assert first[1][3] == [True, False]
    assert first[1][4] == pytest.approx(0.9, abs=1e-6)
    assert first[2][4] == pytest.approx((1 - 0.01 * 0.5) + 0.01, abs=1e-6)
    rows = result.history
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [row["opponent_learning_rate"] for row in rows] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert rows[0]["opponent_loss"] == -1.0
    assert rows[0]["opponent_gradient_norm"] == 1.0  # the model's loss left no gradient in it
    assert rows[0]["opponent_note"] == 3.0
    assert task.trainable() == [True, False]


class LateDuel(Duel):
    """The opponent starts at step 3, and is listened to more and more after it."""

    def __init__(self):
        super().__init__()
        self.opponent_training = TrainingConfig(steps=1, learning_rate=0.01, betas=(0.9, 0.999), weight_decay=0.5)
        self.weights = []

    def begin_step(self, step):
        self.step = step

    @property
    def opponent_learns(self):
        return self.step >= 3

    def loss(self, model, batch, generator):
        loss, _ = super().loss(model, batch, generator)
        self.weights.append(min(max(self.step - 2, 0) / 4, 1.0))
        return loss * self.weights[-1] + model.weight.square().sum(), {}


def test_an_opponent_that_waits_is_not_moved_and_begins_with_fresh_moments(tmp_path):
    config = TrainingConfig(steps=7, batch_size=8, learning_rate=0.1, log_every=1, schedule="constant", warmup=0.0)

    def run(folder, steps, task):
        policy = CheckpointPolicy(folder=folder, every=1, keep=9)
        result = train(task, make_data(), replace(config, steps=steps), checkpoints=policy, **QUIET)
        return task, result

    whole, result = run(tmp_path / "whole", 7, LateDuel())
    assert [kind for kind, *_ in whole.seen].count("opponent") == 4
    before = [weight for kind, *_, weight in whole.seen if kind == "model"]
    # Weight decay 0.5 would have moved it; then Adam's first step, from fresh moments, is one of the whole rate.
    assert before[:4] == [1.0] * 4
    assert before[4] == pytest.approx((1 - 0.01 * 0.5) + 0.01, abs=1e-6)
    assert ["opponent_loss" in row for row in result.history] == [False] * 3 + [True] * 4
    names = [(tmp_path / "whole" / f"step-{step}" / "opponent_optimizer.safetensors").exists() for step in (3, 4)]
    assert names == [False, True]
    with safe_open(tmp_path / "whole" / "step-7" / "opponent_optimizer.safetensors", framework="pt") as file:
        assert file.get_tensor("step.0.weight") == 4
    # The start and the warm-up are counted in steps of the run, whenever it was interrupted.
    weights = []
    for steps in (2, 3, 4, 6, 7):
        parts, _ = run(tmp_path / "parts", steps, LateDuel())
        weights += parts.weights
    assert weights == whole.weights == [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    for name in ("model", "opponent", "opponent_optimizer"):
        files = [tmp_path / run / "step-7" / f"{name}.safetensors" for run in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_the_kinds_of_tasks_are_found_by_what_they_have():
    assert isinstance(Rich(), AdversarialTask)
    assert isinstance(Rich(), StatefulTask)
    assert isinstance(Rich(), SteppedTask)
    assert not isinstance(Duel(), StatefulTask)
    assert not isinstance(Rich(), WaitingTask)
    assert isinstance(LateDuel(), AdversarialTask)


def test_a_task_whose_opponent_is_none_has_none(tmp_path):
    task = Rich()
    task.opponent = None
    task.loss = lambda model, batch, generator: (model(batch.images).square().mean(), {})
    result = train(task, make_data(), TrainingConfig(steps=2, batch_size=8, log_every=1), **QUIET)
    assert set(result.history[0]) == {"step", "loss", "gradient_norm", "learning_rate"}


@pytest.mark.parametrize("which", ["model", "opponent"])
def test_a_refused_step_moves_nothing(which):
    """Batch statistics, the frozen codes and the power iteration moved in the forward pass, and move back."""
    bad = images_of(4)[2]
    snapshots = []

    def remember(step):
        networks = (task.model, task.opponent)
        snapshots.append([value.clone() for network in networks for value in tensors(network)])

    class Spoiled(Rich):
        def opponent_loss(self, opponent, batch, generator):
            loss, numbers = super().opponent_loss(opponent, batch, generator)
            return loss * (float("inf") if bad in batch.indices.tolist() else 1.0), numbers

    task = Rich(remember, bad_index=bad) if which == "model" else Spoiled(remember)
    kind = "loss nan" if which == "model" else r"opponent_loss (inf|nan)"
    with pytest.raises(NonFiniteLossError, match=f"got {kind} .* at step 5 of rank 0"):
        train(task, make_data(), TrainingConfig(**CONFIG), **QUIET)
    now = [value for network in (task.model, task.opponent) for value in tensors(network)]
    moved = [not torch.equal(value, old) for value, old in zip(now, snapshots[-1], strict=True)]
    if which == "model":
        assert not any(moved)
    # A model that learned before its opponent failed has whole weights too.
    assert all(bool(value.isfinite().all()) for value in now)
    assert any(not torch.equal(value, old) for value, old in zip(now, snapshots[-2], strict=True))
    assert isinstance(NonFiniteLossError("x"), UserError)


def tensors(network):
    return [*network.parameters(), *network.buffers()]


def test_long_lists_of_images_are_cut():
    task = Rich(bad_index=images_of(0)[0])
    with pytest.raises(NonFiniteLossError, match=r"images\[\d+\] and 56 more\)"):
        train(task, make_data(), TrainingConfig(steps=1, batch_size=72), **QUIET)


def test_warnings_of_a_task_are_said_and_written(tmp_path, caplog):
    class Watchful(Rich):
        def warnings(self, step, numbers):
            assert numbers["step"] == step
            return [f"the loss is {numbers['loss']:.1f}"] if step == 10 else []

    log = tmp_path / "log.jsonl"
    with caplog.at_level(logging.WARNING):
        result = train(Watchful(), make_data(), TrainingConfig(**CONFIG), log=log, **QUIET)
    (record,) = caplog.records
    assert record.message.startswith("step 10: the loss is ")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines if "warning" in line] == [10]
    assert [line for line in lines if "warning" not in line] == result.history


def test_accumulated_micro_batches_are_the_big_batch():
    class Task:
        def __init__(self):
            torch.manual_seed(1)
            self.model = Network(plain=True)
            self.sizes = []

        def loss(self, model, batch, generator):
            self.sizes.append(len(batch.labels))
            loss = (model(batch.images) - batch.labels).square().mean()
            return loss, {"positive": float(batch.labels.float().mean()), "output": loss.detach()}

    config = {"steps": 12, "batch_size": 24, "log_every": 1, "learning_rate": 1e-2}
    whole, parts = Task(), Task()
    expected = train(whole, make_data(), TrainingConfig(**config), **QUIET)
    found = train(parts, make_data(), TrainingConfig(**config, accumulation=4), **QUIET)
    assert set(whole.sizes) == {24}
    assert parts.sizes == [6] * 48
    for row, other in zip(found.history, expected.history, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    for mine, other in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_compiled_model_trains_to_the_same_weights(monkeypatch):
    compiled = []
    real = torch.compile

    def compile_quickly(model):  # through the tracer only: no machine code is made
        compiled.append(model)
        return real(model, backend="aot_eager")

    class Task:
        def __init__(self):
            torch.manual_seed(1)
            self.model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

        def loss(self, model, batch, generator):
            return (model(batch.images)[:, 0] - batch.labels).square().mean(), {}

    config = {"steps": 6, "batch_size": 8, "ema_decay": 0.5}
    plain, traced = Task(), Task()
    train(plain, make_data(), TrainingConfig(**config), **QUIET)
    monkeypatch.setattr(torch, "compile", compile_quickly)
    train(traced, make_data(), TrainingConfig(**config, compile=True), **QUIET)
    assert compiled == [traced.model]
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(traced.model.state_dict()[name], value)


def test_recomputing_activations_repeats_their_dropout(tmp_path):
    class Blocks(nn.Module):
        def __init__(self, recompute):
            super().__init__()
            self.recompute = recompute
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh()) for _ in range(3))

        def forward(self, images):
            hidden = images.flatten(1)
            for layer in self.layers:
                hidden = checkpoint(layer, hidden, use_reentrant=False) if self.recompute else layer(hidden)
            return hidden

    class Task:
        def __init__(self, recompute):
            torch.manual_seed(1)
            self.model = Blocks(recompute)

        def loss(self, model, batch, generator):
            return model(batch.images).square().mean(), {}

    tasks = Task(False), Task(True)
    for task in tasks:
        train(task, make_data(), TrainingConfig(steps=5, batch_size=16, mixed_precision="bf16"), **QUIET)
    for mine, other in zip(*(task.model.parameters() for task in tasks), strict=True):
        assert torch.equal(mine, other)
