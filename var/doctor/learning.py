"""Whether the model can learn ten images in a minute, and its learning rate lets it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from var.data.arrays import ArrayData
from var.data.base import conditions_at
from var.data.loading import load_images
from var.data.vectors import WithVectors
from var.doctor.patient import Patient
from var.doctor.report import Finding
from var.recipes.transformer.task import TransformerTask
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.task import VQVAETask
from var.runs.evaluation import spread
from var.training import Task, TrainingConfig, train
from var.training.non_finite import NonFiniteLossError
from var.training.optimization import parameter_groups

IMAGES = 10
USUAL_MOVE = 0.02
"""Share of its own size by which a weight moves in a step, as in the presets (.001 to .044)."""
LARGEST_MOVE = 0.12
"""Beyond it a few steps undo all that a weight has learned."""
LEAST_MOVE = 1e-5
"""Below it a weight takes a hundred thousand steps to change by its own size."""
STEP = 0.2
"""Root mean square of a step of AdamW, and of Muon as it is scaled here, in learning rates."""
NOTHING = 0.1
"""Nats a token, or squared error: who begins below has nothing to learn."""
LEARNED = 0.5
"""Of the first loss, which ten images learned by heart must fall below."""


def look_at_learning(patient: Patient) -> Iterator[Finding]:
    """The size of a step, and a copy of the untrained model that learns ten images by heart."""
    settings: TrainingConfig = patient.settings.training
    move = settings.learning_rate * STEP / _size_of_weights(patient)
    patient.measured["move"] = move
    usual = settings.learning_rate * USUAL_MOVE / move
    left: dict[str, float] = {}
    if (steps := patient.overfit_steps) and patient.tokenizer is not None:
        left["own"] = _overfit(patient, settings.learning_rate)
        if not LEAST_MOVE <= move <= LARGEST_MOVE or left["own"] > LEARNED:
            left["usual"] = _overfit(patient, usual)
        patient.measured["overfit"] = left
    told = "; of the loss on ten images, after {} steps, {own:.0%} is left, and {usual:.0%} with {:.2g}"
    compared = told.format(steps, usual, **left) if "usual" in left else ""
    if not LEAST_MOVE <= move <= LARGEST_MOVE:
        too = (
            "high: every step throws the weights about" if move > LARGEST_MOVE else "low: the weights stay as they are"
        )
        yield Finding(
            key="learning_rate",
            severity="fault",
            said=f"the learning rate {settings.learning_rate:g} is too {too}",
            measured=f"a step moves a weight by {move:.2g} of its size, {USUAL_MOVE:g} is usual{compared}",
            remedy=f"train again with training.learning_rate={usual:.1g}",
        )
    elif compared and left["usual"] > LEARNED:
        yield Finding(
            key="overfit",
            severity="fault",
            said="a fresh copy of the model cannot learn ten images by heart",
            measured=f"a step moves a weight by {move:.2%} of its size{compared}",
            remedy="look at the images and their tokens: if these are right, the model or its loss is broken",
        )
    elif compared and move > USUAL_MOVE:
        yield Finding(
            key="learning_rate",
            severity="remark",
            said=f"the learning rate {settings.learning_rate:g} is high: ten images are learned better with less",
            measured=f"a step moves a weight by {move:.1%} of its size{compared}",
            remedy=f"try training.learning_rate={usual:.1g}",
        )


def _size_of_weights(patient: Patient) -> float:
    """Root mean square of the untrained weight matrices."""
    with torch.no_grad():
        matrices = parameter_groups(patient.settings.model(seed=patient.settings.training.seed), 0.0)[0]["params"]
        total = sum(matrix.double().square().sum().item() for matrix in matrices)
    return (total / sum(matrix.numel() for matrix in matrices)) ** 0.5


def _overfit(patient: Patient, rate: float) -> float:
    """Train an untrained copy on ten images at a constant `rate`; returns the share of the loss that is left."""
    places = spread(len(patient.data), IMAGES)
    condition = conditions_at(patient.data, places)
    images = load_images(patient.data, places)
    labels = patient.data.labels[places]
    data: Any = ArrayData(images, labels, patient.data.classes, layout="channels_first")
    if condition.vectors is not None:
        parts: dict[str, Any] = {"sequence": condition.sequence, "sequence_mask": condition.sequence_mask}
        data = WithVectors(data, condition.vectors, labels=condition.labels is not None, **parts)
    task, name = _task(patient)
    steps = patient.overfit_steps
    training = replace(
        patient.settings.training,
        steps=steps,
        batch_size=len(data),
        learning_rate=rate,
        accumulation=1,
        warmup=0.1,
        hold=0.0,
        schedule="constant",
        ema_decay=0.0,
        log_every=max(steps // 20, 1),
        compile=False,
        sharding="none",
    )
    try:
        how = {"description": "ten images", "progress": patient.progress, "device": patient.device}
        rows = train(task, data, training, **how).history
    except NonFiniteLossError:
        return 1.0
    losses = [row[name] for row in rows]
    if losses[0] < NOTHING:
        return 0.0
    last = losses[-max(len(losses) // 4, 1) :]
    return sum(last) / len(last) / losses[0]


def _task(patient: Patient) -> tuple[Task, str]:
    """The run's task with nothing that hinders learning by heart, and the number that must fall."""
    settings, seed = patient.settings, patient.settings.training.seed
    if patient.kind == "vqvae":
        settings = replace(settings, vqvae=replace(settings.vqvae, dropout=0.0, scale_dropout=0.0))
        return VQVAETask(settings.model(seed=seed), VQVAELosses(), seed=seed), "reconstruction"
    assert patient.tokenizer is not None
    settings = replace(settings, transformer=replace(settings.transformer, dropout=0.0, drop_path=0.0))
    return TransformerTask(settings.model(seed=seed), patient.tokenizer, label_drop=0.0), "loss"
