"""Tiny tasks for the tests of the training loop: one that is plain, one that has everything a checkpoint must keep."""

import torch
from torch import nn

from var.data import ArrayData
from var.training import TrainingConfig


def make_data(count=72):
    """Images of one pixel with four channels, and a label that a linear function of them nearly tells."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 4, 1, 1, generator=generator) * 2 - 1
    score = images.flatten(1) @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + torch.randn(count, generator=generator)
    return ArrayData(images, (score > 0).long())


class Network(nn.Module):
    """Dropout, batch statistics, a frozen parameter and a hidden buffer that the forward pass moves and uses."""

    def __init__(self, plain=False, width=16):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.norm = nn.Identity() if plain else nn.BatchNorm1d(width)
        self.dropout = nn.Identity() if plain else nn.Dropout(0.3)
        self.blocks = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.last = nn.Linear(width, 1)
        self.plain = plain
        self.codes = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images):
        hidden = self.dropout(self.norm(self.first(images.flatten(1))))
        for block in self.blocks:
            hidden = hidden + torch.tanh(block(hidden))
        if self.training and not self.plain:
            with torch.no_grad():
                self.codes.lerp_(hidden.mean(0), 0.1)
                self.seen += 1
            hidden = hidden + 0.01 * self.codes + 0.001 * self.seen
        return self.last(hidden)[:, 0]


class Plain:
    """Least squares of the label; without noise and dropout it is the same however it is cut into parts."""

    def __init__(self, noise=0.0, bad_index=-1, hook=lambda step: None):
        torch.manual_seed(1)
        self.model = Network(plain=True)
        if noise:
            self.model.dropout = nn.Dropout(0.3)
        self.noise, self.bad_index, self.begin_step = noise, bad_index, hook

    def loss(self, model, batch, generator):
        """Squared error."""
        targets = batch.labels.float() + self.noise * torch.randn(batch.labels.shape, generator=generator)
        loss = (model(batch.images) - targets).square().mean()
        if self.bad_index in batch.indices.tolist():
            loss = loss * float("nan")
        return loss, {"twice": 2 * loss.detach()}


class Rich:
    """An adversarial task with noise, label drop, a warm-up and a memory; `hook(step)` is called at every step."""

    def __init__(self, hook=lambda step: None, bad_index=-1):
        torch.manual_seed(1)
        self.model = Network()
        self.opponent = nn.Sequential(nn.utils.spectral_norm(nn.Linear(1, 8)), nn.Tanh(), nn.Linear(8, 1))
        self.opponent_training = TrainingConfig(steps=1, learning_rate=2e-3, betas=(0.5, 0.9), weight_decay=0.0)
        self.hook, self.bad_index = hook, bad_index
        self.warmth, self.mean, self.calls = 0.0, torch.zeros(()), 0

    def begin_step(self, step):
        """Warm up."""
        self.warmth = min(1.0, step / 10)
        self.hook(step)

    def loss(self, model, batch, generator):
        """Squared error of noisy labels, some dropped, with the opponent's opinion and the memory mixed in."""
        given = batch.condition.dropped(0.2, generator).given
        labels = batch.labels.masked_fill(~given, 2).float()
        output = model(batch.images + 0.1 * torch.randn(batch.images.shape, generator=generator))
        self.output = output.detach()
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * output.detach().mean()
        loss = (output - labels).square().mean() - 0.1 * self.warmth * self.opponent(output[:, None]).mean()
        loss = loss + 0.1 * self.mean * output.mean() + 1e-3 * self.calls * output.mean()
        if self.bad_index in batch.indices.tolist():
            loss = loss * float("nan")
        return loss, {"mean": self.mean.clone()}

    def opponent_loss(self, opponent, batch, generator):
        """Hinge loss of noise against outputs."""
        real = torch.randn(len(batch.labels), 1, generator=generator)
        fake = self.output[-len(real) :, None]
        return (1 - opponent(real)).relu().mean() + (1 + opponent(fake)).relu().mean(), {}

    def state_dict(self):
        """The memory."""
        return {"mean": self.mean, "calls": self.calls}

    def load_state_dict(self, state):
        """The memory."""
        self.mean, self.calls = state["mean"], state["calls"]
