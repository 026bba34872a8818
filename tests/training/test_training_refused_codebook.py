"""A finite loss with an infinite gradient: a refused step leaves every code and every count as it was."""

import copy

import pytest
import torch
from tiny import tiny_vqvae

from var.data import ArrayData
from var.training import NonFiniteLossError, TrainingConfig, train

QUIET = {"progress": False, "device": "cpu"}


class Reconstruction:
    """Trains a tokenizer; at the step `bad` the loss is finite and its gradient is not."""

    def __init__(self, model, bad=-1):
        self.model, self.bad, self.now, self.before = model, bad, -1, {}

    def begin_step(self, step):
        self.now = step
        self.before = {name: value.clone() for name, value in tensors(self.model).items()}

    def loss(self, model, batch, generator):
        output = model(batch.images, generator)
        loss = (output.reconstruction - batch.images).square().mean() + output.quantization_loss
        if self.now == self.bad:
            loss = loss + (output.reconstruction - output.reconstruction.detach()).abs().sqrt().sum()
        return loss, {}


def tensors(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def data():
    images = torch.rand(32, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return ArrayData(images, torch.zeros(32, dtype=torch.long))


def config(**changes):
    return TrainingConfig(**{"steps": 4, "batch_size": 8, "learning_rate": 1e-3, "log_every": 1, **changes})


KINDS = {
    "gradient": {},
    "gradient, restarts": {"restart_below": 3.0},
    "gradient, k-means": {"kmeans_init": True},
    "gradient, k-means, restarts": {"kmeans_init": True, "restart_below": 3.0},
    "ema": {"codebook": "ema"},
    "ema, k-means, restarts": {"codebook": "ema", "kmeans_init": True, "restart_below": 3.0},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [0, 2])
def test_codes_and_counts_are_as_before_the_refused_step(kind, bad):
    """Section 1 of the issue: k-means, running means, restarts and usage move in the forward pass."""
    task = Reconstruction(tiny_vqvae(**KINDS[kind]), bad)
    with pytest.raises(NonFiniteLossError, match=rf"got loss [0-9.]+ with gradient norm nan at step {bad + 1}"):
        train(task, data(), config(accumulation=2), **QUIET)
    for name, value in tensors(task.model).items():
        assert torch.equal(value, task.before[name]), name
    assert task.model.quantizer.codebook.wants_init == (bad == 0 and "k-means" in kind)


@pytest.mark.parametrize("kind", ["gradient, k-means, restarts", "ema, k-means, restarts"])
def test_training_after_a_refused_first_step_is_training_from_the_start(kind):
    model = tiny_vqvae(**KINDS[kind])
    fresh = copy.deepcopy(model)
    with pytest.raises(NonFiniteLossError):
        train(Reconstruction(model, bad=0), data(), config(), **QUIET)
    for each in (model, fresh):
        train(Reconstruction(each), data(), config(), **QUIET)
    for name, value in tensors(model).items():
        assert torch.equal(value, tensors(fresh)[name]), name


def test_weights_that_cannot_enter_autograd_are_refused_in_a_line():
    """Inference tensors fail in the first backward pass otherwise, with advice for those who know autograd."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 1))
    with torch.inference_mode():
        model[1].weight = torch.nn.Parameter(torch.zeros(1, 36))
    task = Reconstruction(model)
    with pytest.raises(ValueError, match=r"\Atraining needs .* inside torch.inference_mode\(\): 1.weight; build.*\Z"):
        train(task, data(), config(), **QUIET)
