"""Whether the model can learn ten images in a minute, and its learning rate lets it."""

import logging
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
"""Share of its own size by which a weight moves in a step, as in the presets (.01 to .03)."""
LARGEST_MOVE = 0.08
"""Beyond it a dozen steps undo all that a weight has learned."""
STEP = 0.2
"""Root mean square of a step of AdamW, and of Muon as it is scaled here, in learning rates."""
LEARNED = 0.5
"""Of the first loss, which ten images learned by heart must fall below."""


def look_at_learning(patient: Patient) -> Iterator[Finding]:
    """The size of a step, and a copy of the untrained model that learns ten images by heart."""
    settings: TrainingConfig = patient.settings.training
    move = settings.learning_rate * STEP / _size_of_weights(patient)
    patient.measured["move"] = move
    usual = settings.learning_rate * USUAL_MOVE / move
    curves = {}
    if patient.overfit_steps and patient.tokenizer is not None:
        curves["own"] = _overfit(patient, settings.learning_rate)
        if move > LARGEST_MOVE / 2 or curves["own"][1] > LEARNED:
            curves["usual"] = _overfit(patient, usual)
        patient.measured["overfit"] = {rate: end for rate, (_, end) in curves.items()}
    told = {rate: f"{end:.0%} of the loss is left after {count} steps" for rate, (count, end) in curves.items()}
    if move > LARGEST_MOVE:
        compared = f"; on ten images {told['own']}, at {usual:.2g} {told['usual']}" if told else ""
        yield Finding(
            key="learning_rate",
            severity="fault",
            said=f"the learning rate {settings.learning_rate:g} is too high: every step throws the weights about",
            measured=f"a step moves a weight by {move:.0%} of its size, {USUAL_MOVE:.0%} is usual{compared}",
            remedy=f"train again with training.learning_rate={usual:.1g}",
        )
    elif curves and curves["own"][1] > LEARNED:
        yield (
            _slow(settings, move, usual, told)
            if curves["usual"][1] <= LEARNED
            else Finding(
                key="overfit",
                severity="fault",
                said="a fresh copy of the model cannot learn ten images by heart",
                measured=told["own"],
                remedy="look at the images and their tokens: if these are right, the model or its loss is broken",
            )
        )


def _slow(settings: TrainingConfig, move: float, usual: float, told: dict[str, str]) -> Finding:
    low = move < USUAL_MOVE
    return Finding(
        key="learning_rate",
        severity="remark" if low else "fault",
        said=f"the learning rate {settings.learning_rate:g} is " + ("low: much patience is needed" if low else "high"),
        measured=f"a step moves a weight by {move:.1%} of its size; on ten images {told['own']}, at {usual:.2g} "
        f"{told['usual']}",
        remedy=f"try training.learning_rate={usual:.1g}",
    )


def _size_of_weights(patient: Patient) -> float:
    """Root mean square of the untrained weight matrices."""
    with torch.no_grad():
        matrices = parameter_groups(patient.settings.model(seed=patient.settings.training.seed), 0.0)[0]["params"]
        total = sum(matrix.double().square().sum().item() for matrix in matrices)
    return (total / sum(matrix.numel() for matrix in matrices)) ** 0.5


def _overfit(patient: Patient, rate: float) -> tuple[int, float]:
    """Train an untrained copy on ten images at a constant `rate`; the steps, and the share of the loss that is left."""
    places = spread(len(patient.data), IMAGES)
    condition = conditions_at(patient.data, places)
    images = load_images(patient.data, places)
    labels = patient.data.labels[places]
    data: Any = ArrayData(images, labels, patient.data.classes, layout="channels_first")
    if condition.vectors is not None:
        parts = {"sequence": condition.sequence, "sequence_mask": condition.sequence_mask}
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
        rows = train(
            task, data, training, description="ten images", progress=patient.progress, device=patient.device
        ).history
    except NonFiniteLossError:
        logging.getLogger(__name__).debug("ten images: the loss became infinite at %g", rate)
        return steps, 1.0
    losses = [row[name] for row in rows]
    last = losses[-max(len(losses) // 4, 1) :]
    return steps, sum(last) / len(last) / max(losses[0], 1e-12)


def _task(patient: Patient) -> tuple[Task, str]:
    """The run's task with nothing that hinders learning by heart, and the number that must fall."""
    model = patient.settings.model(seed=patient.settings.training.seed)
    if patient.kind == "vqvae":
        return VQVAETask(model, VQVAELosses(), seed=patient.settings.training.seed), "reconstruction"
    assert patient.tokenizer is not None
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return TransformerTask(model, patient.tokenizer, label_drop=0.0), "loss"
