"""Hyperparameters of a training run, the optimiser's parameter groups and the learning rate over time."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from var.checks import at_least, at_most, fields, not_negative, positive, share
from var.errors import UserError
from var.training.muon import Muon, muon_flops


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Hyperparameters of one run of the loop."""

    steps: int  # optimiser steps
    batch_size: int = 32  # images per step, over all processes and micro-batches
    # Micro-batches of a step on each process, for batches that do not fit into memory; the start of a run makes of
    # "auto" the smallest number that fits.
    accumulation: int | Literal["auto"] = 1
    optimizer: Literal["adamw", "muon"] = "adamw"  # "muon" moves weight matrices by Muon, the rest by AdamW
    learning_rate: float = 1e-3  # the peak, after warm-up
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW's moments
    momentum: float = 0.95  # Muon's
    epsilon: float = 1e-8  # AdamW's, which keeps it from dividing by zero
    weight_decay: float = 0.05  # of weight matrices only; see `parameter_groups`
    warmup: float = 0.02  # share of the steps in which the learning rate rises linearly from 0
    schedule: Literal["constant", "linear", "cosine"] = "cosine"  # after warm-up
    hold: float = 0.0  # share of the steps after warm-up in which the learning rate stays at its peak
    final_learning_rate: float = 0.0  # share of the peak that is left at the end
    clip_norm: float = 2.0  # largest norm of the gradient of all parameters together
    ema_decay: float = 0.0  # of the averaged weights, 0 trains without averaging
    seed: int = 0  # of the order, augmentation, noise and label drop
    log_every: int = 50  # steps per log line
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False  # the model by torch.compile: minutes at the start, faster steps after it
    sharding: Literal["none", "fsdp"] = "none"  # "fsdp" spreads weights and optimiser over the processes (FSDP2)

    def __post_init__(self) -> None:
        fields(self)
        numbers = ("steps", "log_every") if self.accumulation == "auto" else ("steps", "log_every", "accumulation")
        at_least(1, self, "batch_size", *numbers)
        at_most(10**9, self, *numbers)
        at_most(10**6, self, "batch_size")  # images; the largest that was ever of use is a tenth of it
        at_most(10**3, self, "learning_rate", "weight_decay", "epsilon")
        not_negative(self, "weight_decay")
        share(self, "warmup", "hold", "final_learning_rate", "ema_decay")
        positive(self, "learning_rate", "clip_norm", "epsilon")
        if self.warmup + self.hold > 1:
            raise UserError(
                f"warmup and hold are shares of one run, got {self.warmup} and {self.hold}, together over 1; lower one"
            )
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must lie in [0, 1), got {self.momentum}; 0.95 is usual")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas must lie in [0, 1), got {self.betas}; (0.9, 0.95) is usual for transformers")

    @property
    def micro_batches(self) -> int:
        """Of a step on each process; raises `UserError` while that is left open."""
        if self.accumulation == "auto":
            raise UserError(
                "accumulation must be a number where a loop starts, got 'auto', which the command line resolves from "
                "the plan of a run; give a number"
            )
        return self.accumulation


def learning_rate_factor(config: TrainingConfig, step: int) -> float:
    """Learning rate of `step` (from 0) as a share of the peak: warm-up, hold, then the schedule's fall."""
    done = (step + 1) / config.steps
    if done <= config.warmup:
        return done / config.warmup
    start = config.warmup + config.hold
    if config.schedule == "constant" or done <= start:
        return 1.0
    # The first step after the peak may begin before it, where the shares are no whole numbers of steps.
    progress = max((step - start * config.steps) / ((1 - start) * config.steps), 0.0)
    fall = (1 + math.cos(math.pi * progress)) / 2 if config.schedule == "cosine" else 1 - progress
    return config.final_learning_rate + (1 - config.final_learning_rate) * fall


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight matrices of linear and convolution layers, which decay; biases, norms and embeddings, which do not."""
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, layers)}
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]


def build_optimizers(model: nn.Module, settings: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for the weight matrices and AdamW for the rest.

    AdamW comes in its fused form, which is several times faster than the loop over small tensors.
    """
    groups = parameter_groups(model, settings.weight_decay)
    optimizers: list[torch.optim.Optimizer] = []
    rate, epsilon = settings.learning_rate, 1e-8
    if isinstance(settings, TrainingConfig):
        epsilon = settings.epsilon
        if settings.optimizer == "muon":
            optimizers.append(Muon([groups.pop(0)], lr=rate, momentum=settings.momentum))
    optimizers.append(torch.optim.AdamW(groups, lr=rate, betas=settings.betas, eps=epsilon, fused=True))
    return optimizers


def optimizer_flops(model: nn.Module, config: TrainingConfig) -> int:
    """Operations of the matrix products in an optimiser's step; element-wise work has no FLOPs here."""
    return muon_flops(parameter_groups(model, 0.0)[0]["params"]) if config.optimizer == "muon" else 0
