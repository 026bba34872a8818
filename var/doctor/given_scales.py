"""What each map costs: the distance of images whose first maps are true and whose others are drawn."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.base import conditions_at
from var.data.loading import load_images
from var.doctor.patient import BATCH, Patient
from var.doctor.report import Finding
from var.errors import UserError
from var.evaluation.features.classifier import Classifier, train_classifier
from var.evaluation.features.extraction import extract
from var.evaluation.metrics.frechet import RankDeficientWarning, frechet_distance
from var.evaluation.metrics.statistics import Statistics
from var.generation import VARPipeline
from var.generation.editing import Edit
from var.images import to_uint8
from var.runs.evaluation import REFERENCE, data_name, in_memory, judge_config, spread
from var.runs.settings import EvaluationSettings

IMAGES = 1000
"""Images at most, of each class as many as of every other where there are so many."""


def check_given_scales(patient: Patient) -> None:
    """Raise `UserError` for a run of which this cannot be told: of another kind, without a model, or of one class."""
    place = patient.folder.path
    if patient.kind != "transformer":
        raise UserError(
            f"--given-scales is for runs of `var train transformer`, got a {patient.kind} in {place}; name one"
        )
    if patient.transformer is None or patient.tokenizer is None:
        raise UserError(f"--given-scales draws images, got no models in {place}; finish the run first")
    if len(patient.data.classes) < 2:
        raise UserError(
            "--given-scales needs a classifier for its distances, got data of one class; put them into class folders"
        )


def look_at_given_scales(patient: Patient) -> Iterator[Finding]:
    """The distance to training images for 0, 1, ..., all true maps, as the run draws, and of the images themselves."""
    assert patient.transformer is not None
    assert patient.tokenizer is not None
    judge = _judge(patient)

    def statistics(images: Tensor) -> Statistics:
        return Statistics.from_features(extract(to_uint8(images), judge).features)

    data, scales = patient.data, patient.schedule
    places = balanced(data.labels, IMAGES)
    images, condition = load_images(data, places), conditions_at(data, places)
    pipeline = VARPipeline(patient.tokenizer, patient.transformer)
    rows: list[dict[str, Any]] = []
    how: Any = {"output_type": "pt", "progress": False}
    bar = tqdm(total=(len(scales) + 1) * len(places), desc="given scales", disable=not patient.progress)
    with warnings.catch_warnings(), bar:
        warnings.simplefilter("ignore", RankDeficientWarning)
        reference = statistics(load_images(data, spread(len(data), REFERENCE)))
        for given in range(len(scales) + 1):
            parts = []
            for start in range(0, len(places), BATCH):
                some = slice(start, start + BATCH)
                edit = Edit(images=images[some].double(), keep_scales=given)
                seeds = list(range(start, start + len(edit.images)))
                out = pipeline(condition[some], sampling=patient.settings.sampling, edit=edit, seeds=seeds, **how)
                parts.append(out.images.float().cpu() * 2 - 1)
                bar.update(len(seeds))
            rows.append({"true_maps": given, "distance": frechet_distance(reference, statistics(torch.cat(parts)))})
        real = frechet_distance(reference, statistics(images))
    for row, finer, (height, width) in zip(rows, rows[1:], scales.shapes, strict=False):
        row |= {"next_map": f"{height}x{width}", "costs": row["distance"] - finer["distance"]}
    told = {"title": f"FD-{judge.name}", "images": len(places), "real": real, "rows": rows}
    patient.measured["given_scales"] = told
    yield from ()


def balanced(labels: Int64[Tensor, " n"], most: int) -> Int64[Tensor, " some"]:
    """At most `most` places, spread over each class, equally many of each where there are so many."""
    classes = labels.unique()
    of_each = max(most // len(classes), 1)
    mine = [torch.nonzero(labels == label).flatten() for label in classes]
    return torch.cat([places[spread(len(places), of_each)] for places in mine])


def _judge(patient: Patient) -> Classifier:
    """The classifier that judged the run, or, where it has none that fits, one that is trained now and not kept."""
    place, data = patient.folder.path / "judge", patient.data
    try:
        judge = Classifier.from_pretrained(place) if place.is_dir() else None
    except UserError:
        judge = None
    if judge is not None and (judge.config.shape, judge.config.num_classes) == (data.shape, len(data.classes)):
        return judge
    some = in_memory(data)
    steps = patient.settings.evaluation.judge_steps or EvaluationSettings().judge_steps
    how: Any = {"steps": steps, "device": patient.device, "progress": patient.progress}
    config = judge_config(some, data_name(patient.settings.data.source or "data"))
    return train_classifier(some, config=config, **how).to("cpu")
