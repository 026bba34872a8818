"""Loss and accuracy at every scale: on training images, on held-out ones, and on what the model draws by itself."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.doctor.patient import BATCH, Patient, Sample
from var.doctor.report import Finding, NothingThereError
from var.errors import UserError
from var.generation import VARPipeline
from var.recipes.transformer.task import logged_nats
from var.transformer import VAR

DRAWN = 50
"""Images drawn."""
SURE = 6.0
"""Standard errors beyond which draws are not those of the probabilities."""
NOTICED = 0.1
"""Nats a token that such a difference must be; and the share of the loss of guessing that other ones must be."""


FORGOTTEN = 0.5
"""Share of what the log says was learned, that the saved model may lack."""


def losses_of(
    patient: Patient, model: VAR, tokens: Int64[Tensor, "n length"], condition: Condition
) -> tuple[Float[Tensor, "n length"], Float[Tensor, "n length"], Float[Tensor, "n length"]]:
    """Teacher-forced: the loss in nats of each token, 1 where it is the likeliest, and the entropy."""
    assert patient.tokenizer is not None
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, len(tokens), BATCH):
        rows = slice(start, start + BATCH)
        targets = tokens[rows].to(patient.device)
        with torch.inference_mode():
            inputs = patient.tokenizer.inputs(patient.schedule.split(targets))
            logits = model(condition[rows].to(patient.device), inputs, targets)
            losses = F.cross_entropy(logits.mT, targets, reduction="none")
            entropies = torch.special.entr(logits.softmax(-1)).sum(-1)
        found.append((losses.cpu(), (logits.argmax(-1) == targets).float().cpu(), entropies.cpu()))
    losses, right, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
    return losses, right, entropies


def look_at_likelihood(patient: Patient) -> Iterator[Finding]:
    """Teacher-forced against free-running, and training against held-out images."""
    try:
        model = patient.transformer
    except UserError as error:
        yield Finding(
            key="weights",
            severity="fault",
            said="the transformer cannot be loaded",
            measured=str(error),
            remedy="restore its folder, or train again",
        )
        return
    if model is None or patient.trained_on is None:
        raise NothingThereError("no transformer" if model is None else "no tokenizer")
    means: dict[str, float] = {}
    for name, sample in (("train", patient.trained_on), ("held_out", patient.unseen)):
        if sample is not None:
            losses, right, _ = losses_of(patient, model, sample.tokens, sample.condition)
            means[name] = losses.mean().item()
            _note(patient, name, losses, right)
    # The log of a decoder tells nothing of the transformer, and one of distilled guidance no likelihood.
    if patient.kind == "transformer" and patient.settings.distilled_guidance == 1:
        yield from _fit(patient, means)
    yield from _free_running(patient, model, patient.trained_on)


def _fit(patient: Patient, means: dict[str, float]) -> Iterator[Finding]:
    """Whether the model knows the training images, and held-out ones as well."""
    uniform = math.log(patient.settings.transformer.vocabulary)
    logged = [logged_nats(row, patient.schedule.lengths) for row in patient.rows if "loss" in row]
    patient.measured["loss"] = means
    # The averaged weights, without dropout, are as good as the log's last row or better.
    if means["train"] - logged[-1] > max(FORGOTTEN * (logged[0] - logged[-1]), NOTICED * uniform):
        yield Finding(
            key="weights",
            severity="fault",
            said="the model knows its training images much worse than its log says: its weights, or its tokenizer's, "
            "are not those that were trained",
            measured=f"{means['train']:.2f} nats a token; the log ends at {logged[-1]:.2f}, guessing costs "
            f"{uniform:.2f}",
            remedy="put back the weights that were trained together",
        )
    elif means.get("held_out", 0.0) > means["train"] + NOTICED * uniform:
        yield Finding(
            key="held-out",
            severity="remark",
            said="training images are known much better than held-out ones: the model learns them by heart",
            measured=f"{means['train']:.2f} nats a token on training images, {means['held_out']:.2f} on held-out ones",
            remedy="train shorter, on more images or tokens.variants, or with transformer.dropout",
        )


def _free_running(patient: Patient, model: VAR, sample: Sample) -> Iterator[Finding]:
    """Tokens that are drawn must be draws from the teacher-forced probabilities: their mean loss is the entropy."""
    assert patient.tokenizer is not None
    shown = sample.condition
    places = torch.linspace(0, len(shown) - 1, min(DRAWN, len(shown))).long()
    condition = shown.each(lambda part: part[places])
    pipeline = VARPipeline(patient.tokenizer, model)
    how = {"guidance_scale": 1.0, "seeds": list(range(len(places))), "output_type": "pt", "progress": False}
    token_maps = pipeline(condition, **how).tokens
    drawn = patient.schedule.flatten([each.cpu() for each in token_maps])
    losses, right, entropies = losses_of(patient, model, drawn, condition)
    _note(patient, "free", losses, right)
    excess = losses - entropies
    for scale, where in enumerate(patient.schedule.slices()):
        of_images = excess[:, where].mean(1)
        error = (of_images.std() / len(of_images) ** 0.5).item()
        if of_images.mean().item() > max(NOTICED, SURE * error):
            yield Finding(
                key="generation",
                severity="fault",
                said="what is drawn does not follow the probabilities that were trained",
                measured=f"tokens of scale {scale} cost {of_images.mean():.2f} nats more than their entropy, "
                f"{error:.2f} standard error",
                remedy="draw with the models, the schedule and the version that the run was trained with",
            )
            return


def _note(patient: Patient, name: str, losses: Tensor, right: Tensor) -> None:
    for row, where in zip(patient.measured["scales"], patient.schedule.slices(), strict=True):
        row |= {f"{name}_nll": losses[:, where].mean().item(), f"{name}_accuracy": right[:, where].mean().item()}
