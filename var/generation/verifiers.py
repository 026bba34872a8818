"""Who says which candidate shows best what was asked for: the model, a classifier, a judge of texts, a function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from var.conditions import Condition
from var.errors import UserError, chosen
from var.images import to_uint8
from var.names import received

LIKELIHOOD = "likelihood"
"""The word for the model's own log-probability of the tokens."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What is known of the candidates when one of each image's is kept."""

    decode: Callable[[Tensor], Float[Tensor, "rows c h w"]]
    latents: Float[Tensor, "rows width h w"]  # accumulated so far
    log_likelihood: Float[Tensor, " rows"]  # of their tokens, in nats, under the guided model
    condition: Condition
    prompts: Sequence[str] | None  # one a row, where texts are asked for

    @property
    def images(self) -> Float[Tensor, "rows c h w"]:
        """In [-1, 1], as far as they are known; decoded for whoever asks."""
        return self.decode(self.latents)


Verifier = Callable[[Compared], Any]
"""A score for each; of each image's candidates the one with the highest is kept, and of equal ones the first."""


def verifier_of(given: Any, classes: int) -> Verifier:
    """What a call's `verifier` stands for, of a model of so many `classes`; raises `UserError` for what is none.

    "likelihood"; a classifier of the evaluation, whose class i is label i, for the log-probability of the class asked
    for; a `TextJudge`, for how like an image and its prompt are; or any function of images in [-1, 1] and what they
    show: labels (batch,), a list of prompts where these were given, or else a `Condition`.
    """
    if isinstance(given, str):
        chosen(given, {LIKELIHOOD: None}, "verifier")
        return lambda found: found.log_likelihood
    if hasattr(given, "likeness"):
        return lambda found: _likeness(given, found)
    if hasattr(given, "digest") and callable(given):
        return lambda found: _class_probability(given, found, classes)
    if not callable(given):
        raise UserError(
            f"verifier must be {LIKELIHOOD!r}, a classifier, a judge of texts or a function of images and what they "
            f"show, got {received(given)}; pass one"
        )
    return lambda found: given(found.images, _shown(found))


def _shown(found: Compared) -> Any:
    if found.prompts is not None:
        return found.prompts
    return found.condition if found.condition.labels is None else found.condition.labels


def _class_probability(classifier: Callable[..., Any], found: Compared, classes: int) -> Tensor:
    labels = found.condition.labels
    if labels is None or int(labels.max()) >= classes:
        raise UserError("a classifier as verifier needs the class of every image, got none; pass class_labels")
    logits = classifier(to_uint8(found.images)).logits
    if logits is None or logits.shape[1] != classes:
        told = "none" if logits is None else logits.shape[1]
        raise UserError(f"a classifier as verifier must tell the model's {classes} classes, got {told}; take another")
    return logits.log_softmax(dim=1).gather(1, labels.to(logits.device)[:, None])[:, 0]


def _likeness(judge: Any, found: Compared) -> Tensor:
    if found.prompts is None:
        raise UserError("a judge of texts as verifier needs the text of every image, got none; pass prompt")
    return judge.likeness(to_uint8(found.images), found.prompts)


def checked_scores(scores: Any, rows: int) -> Float[Tensor, " rows"]:
    """The scores as a float tensor; raises `UserError` unless there is a finite one for each of so many `rows`."""
    try:
        scores = torch.as_tensor(scores).detach()
        shape = tuple(scores.shape)
        fits = shape == (rows,) and not scores.is_complex()
        values = scores.double() if fits else torch.zeros(0)  # which not every type and memory has
        fits = fits and bool(values.isfinite().all())
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"a verifier must give {rows} numbers, got {received(scores)}; mend it") from error
    if not fits:
        raise UserError(
            f"a verifier must give a finite score for each of {rows} candidates, got {shape} of them, "
            f"{int(values.isnan().sum())} NaN; mend it"
        )
    return values
