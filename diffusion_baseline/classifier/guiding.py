"""Classifier guidance (Dhariwal & Nichol 2021, arXiv 2105.05233, Section 4)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from diffusion_baseline.classifier.model import NoisyClassifier
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.schedules import Estimate, Images, NoiseLevels
from var.conditions import Condition
from var.errors import UserError
from var.sampling.finite import Finite
from var.sampling.guidance import check_same
from var.sampling.models import plain_model

Classify = Callable[[Tensor, Tensor], Tensor]
"""(x_t, timesteps (batch,)) -> logits (batch, classes)."""

Labels = Int[Tensor, " batch"]
Steps = Int[Tensor, " batch"]

Steer = Callable[[Estimate, Tensor, Tensor], Estimate]
"""(estimate, x_t, timesteps (batch,)) -> an estimate of an image that shows more of its class."""


def class_gradient(classify: Classify, x: Images, timesteps: Steps, labels: Labels) -> Images:
    """The gradient of log p(label | x_t) at x_t = `x`; 0 where a label is none of the classes."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = classify(x, timesteps)
        log_probabilities = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
        known = labels < log_probabilities.shape[1]
        wanted = log_probabilities.gather(1, torch.where(known, labels, 0)[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(torch.where(known, wanted, 0).sum(), x)
    return gradient


def towards_class(
    estimate: Estimate, gradient: Images, timesteps: Steps, schedule: NoiseLevels, scale: float
) -> Estimate:
    """Shift eps by -sigma scale grad log p(y | x_t) (Algorithm 2), and the clean image so that both still make x_t.

    Where x_t holds nothing of an image there is nothing to tell its class by, and nothing is shifted.
    """
    signal, noise = schedule.signal_and_noise(timesteps, gradient)
    shift = torch.where(signal > 0, noise * scale * gradient, 0)
    return Estimate(estimate.image + shift * noise / torch.where(signal > 0, signal, 1), estimate.noise - shift)


def steering(
    classifier: Any,
    facts: Mapping[str, Any],
    condition: Condition,
    settings: SamplingSettings,
    schedule: NoiseLevels,
    finite: Finite,
) -> Steer:
    """How `classifier` (None: no one) guides towards the classes of a `condition`, as a pipeline of these `facts` asks.

    Raises `UserError` for a classifier of other classes, images or noise, and where no image is asked for a class.
    """
    if classifier is None:
        if settings.classifier_scale != 1:
            raise UserError("classifier_scale needs a classifier, got none; pass Guidance(classifier=...)")
        return lambda found, x, timesteps: found
    network = plain_model(classifier, NoisyClassifier, "classifier")
    check_same("classifier", network.facts(), facts)
    labels = condition.classes(network.config.num_classes)
    labels = labels.masked_fill(~condition.given, network.config.num_classes)
    if not (labels < network.config.num_classes).any():
        raise UserError("a classifier guides towards classes, got none; pass class_labels, or leave the classifier out")

    def steer(found: Estimate, x: Tensor, timesteps: Tensor) -> Estimate:
        if not settings.guides_everywhere and not settings.guides_at(schedule.levels(int(timesteps[0]))[1].item()):
            return found
        gradient = finite.checked(class_gradient(network, x, timesteps, labels))
        return towards_class(found, gradient, timesteps, schedule, settings.classifier_scale)

    return steer
