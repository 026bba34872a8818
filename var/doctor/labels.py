"""Whether the labels belong to the images, and the model listens to them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.data.arrays import ArrayData
from var.data.base import ImageData, fingerprint
from var.data.loading import load_images
from var.doctor.likelihood import losses_of
from var.doctor.patient import Patient, Sample
from var.doctor.report import Finding, NothingThereError
from var.errors import UserError
from var.evaluation.features.classifier import train_classifier
from var.randomness import keyed_generator
from var.runs.evaluation import judge_config, spread

IMAGES = 1000
FEWEST = 200
"""Images of which it can be told whether labels belong to them."""
SIDE = 8
"""Of the pictures in which neighbours are looked for."""
NEIGHBOURS = 5
DRAWS = 100
SURE = 3.5
"""Standard deviations that chance reaches once in 4,000 times."""
JUDGE_STEPS = 150
LISTENS = 0.1
"""Share of what the first map tells of the class that a model must have learned, once it has learned anything."""
SHRINK = 5.0
"""Images for which the distribution over all classes counts in that of one."""


def look_at_labels(patient: Patient) -> Iterator[Finding]:
    """Whether images of one class are alike, and whether their own class makes their tokens likelier."""
    data, told = patient.data, patient.facts["data"]
    same = patient.same_data
    few = "no two classes" if len(data.classes) < 2 else f"fewer than {FEWEST} images" if len(data) < FEWEST else ""
    if few and same:
        raise NothingThereError(few)
    if not few:
        if not _labels_tell(patient, data):
            yield _wrong(
                "the labels say nothing about the images: they are shuffled, or belong to others",
                f"images of one class are no more alike than chance has it, by {patient.measured['labels']}",
            )
            return
        heard = _listening(patient)
        alike = (len(data), list(data.classes)) == (told.get("images"), told.get("classes"))
        if heard is not None and heard.most < LISTENS * heard.possible:
            yield _wrong(
                "the model does not listen to the class: it was trained with labels that told it nothing",
                f"with its own class the first map is at most {heard.most:.2f} nats likelier than with another one, "
                f"where the class tells {heard.possible:.2f}",
            )
            return
        if not same and alike and (heard is None or heard.least <= 0):
            yield _wrong(
                "the run was trained with other labels or other images than these data have",
                f"as many images of the same classes, but of the fingerprint {told['fingerprint'][:8]}, now "
                f"{fingerprint(data)[:8]}; the model shows no sign of the labels that they have now",
            )
            return
    if not same:
        yield Finding(
            key="data",
            severity="remark",
            said="the data are not what the run was trained on: images, their names or labels have changed",
            measured=f"fingerprint {told['fingerprint'][:8]} in training, now {fingerprint(data)[:8]}",
            remedy="name the data of the training by --data; else the token cache cannot be looked at",
        )


def _wrong(said: str, measured: str) -> Finding:
    return Finding(
        key="labels",
        severity="fault",
        said=said,
        measured=measured,
        remedy="look at some images with the names of their classes, mend the labels, and train again",
    )


class Heard(NamedTuple):
    """Nats that the first map gets likelier by the image's own class instead of another one, and that it could."""

    least: float
    most: float
    possible: float


def _labels_tell(patient: Patient, data: ImageData) -> bool:
    """Whether the labels tell of the images: by neighbours, or, where these say nothing, by a small classifier."""
    places = spread(len(data), IMAGES)
    images, labels = load_images(data, places), data.labels[places]
    pictures = [F.adaptive_avg_pool2d(images, min(SIDE, *images.shape[2:])).flatten(1)]
    if patient.tokenizer is not None:
        with torch.inference_mode():
            parts = [patient.tokenizer.latent(part.to(patient.device)).cpu() for part in images.split(50)]
        pictures.append(torch.cat(parts).flatten(1))
    sure = max(_neighbours_agree(each, labels) for each in pictures)
    patient.measured["labels"] = f"{sure:.1f} standard deviations"
    if sure >= SURE:
        return True
    order = torch.randperm(len(places), generator=keyed_generator("doctor", "halves"))
    first, second = order.chunk(2)
    some = ArrayData(images[first], labels[first], data.classes, layout="channels_first")
    judge = train_classifier(
        some, config=judge_config(some, "labels"), steps=JUDGE_STEPS, device=patient.device, progress=patient.progress
    )
    with torch.inference_mode():
        predicted = judge.to("cpu").network(images[second])[1].argmax(1)
    shares = [F.one_hot(each, len(data.classes)).double().mean(0) for each in (predicted, labels[second])]
    chance = float(shares[0] @ shares[1])
    right = (predicted == labels[second]).double().mean().item()
    sure = (right - chance) / max((chance * (1 - chance) / len(second)) ** 0.5, 1e-12)
    patient.measured["labels"] += f"; a classifier names {right:.0%} of them, chance {chance:.0%}"
    return sure >= SURE


def _neighbours_agree(pictures: Float[Tensor, "n width"], labels: Int64[Tensor, " n"]) -> float:
    """How many standard deviations oftener than under shuffled labels neighbours share their class."""
    distances = torch.cdist(pictures, pictures)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.topk(NEIGHBOURS, largest=False).indices
    generator = keyed_generator("doctor", "labels")

    def agreement(labels: Tensor) -> float:
        return (labels[nearest] == labels[:, None]).double().mean().item()

    chance = torch.tensor([agreement(labels[torch.randperm(len(labels), generator=generator)]) for _ in range(DRAWS)])
    return (agreement(labels) - chance.mean().item()) / max(chance.std().item(), 1e-12)


def _listening(patient: Patient) -> Heard | None:
    """How much the model makes of the class, within three standard errors.

    None where the class tells little, and for a model that has not yet learned what coarse maps tell of fine ones: the
    class may come later.
    """
    try:
        sample, model = patient.trained_on, patient.transformer
    except UserError:  # which `look_at_likelihood` says
        return None
    if sample is None or model is None or sample.condition.labels is None or sample.condition.vectors is not None:
        return None
    labels, first = sample.condition.labels, patient.schedule.lengths[0]
    possible, plain = _told_by_class(sample, labels, first)
    own, _, _ = losses_of(patient, model, sample.tokens, sample.condition)
    if possible < LISTENS or own[:, first:].mean() > (1 - LISTENS) * plain[:, first:].mean():
        return None
    shift = torch.randint(1, len(patient.data.classes), labels.shape, generator=keyed_generator("doctor", "others"))
    others = Condition.of((labels + shift) % len(patient.data.classes))
    other, _, _ = losses_of(patient, model, sample.tokens, others)
    gain = (other - own)[:, :first].sum(1)
    mean, error = gain.mean().item(), (gain.std() / len(gain) ** 0.5).item()
    return Heard(mean - 3 * error, mean + 3 * error, possible)


def _told_by_class(sample: Sample, labels: Tensor, first: int) -> tuple[float, Float[Tensor, "half length"]]:
    """At least so many nats the class tells of the first map, and the losses without anything; by counts.

    The counts are of one half of the images, the losses of the other.
    """
    order = torch.randperm(len(labels), generator=keyed_generator("doctor", "counts"))
    known, asked = order.chunk(2)
    tokens, classes = sample.tokens, int(labels.max()) + 1
    codes = int(tokens.max()) + 1
    length = tokens.shape[1]
    places = tokens[known] + codes * torch.arange(length)  # a table of which token each image has would be huge
    plain = (torch.bincount(places.flatten(), minlength=length * codes).view(length, codes).double() + 1) / (
        len(known) + codes
    )
    of_first = places[:, :first] + first * codes * labels[known, None]
    total = torch.bincount(of_first.flatten(), minlength=classes * first * codes).view(classes, first, codes).double()
    counts = torch.bincount(labels[known], minlength=classes)[:, None, None]
    of_class = (total + SHRINK * plain[:first]) / (counts + SHRINK)
    plain_losses = -plain.log().expand(len(asked), -1, -1).gather(2, tokens[asked][..., None])[..., 0]
    class_losses = -of_class.log()[labels[asked]].gather(2, tokens[asked][:, :first, None])[..., 0]
    gain = (plain_losses[:, :first] - class_losses).sum(1)
    return (gain.mean() - 3 * gain.std() / len(gain) ** 0.5).item(), plain_losses
