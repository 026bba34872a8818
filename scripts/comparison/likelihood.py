"""The stages that tell how likely real images are under a model: bits per value of images that nobody trained on."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from comparison.data import evenly, grey_levels
from comparison.families import FAMILIES
from comparison.schedule import Job, Place
from comparison.settings import CODE_VERSION
from comparison.stages import Stage
from comparison.training import load_pipeline, model_name
from var.data.loading import load_images
from var.randomness import keyed_generator

NUMBERS = 2**15  # values of all images that are looked at, for a bound takes as many evaluations as there are timesteps
LEAST, MOST = 16, 64


def likelihood_jobs(place: Place, seeds: list[int]) -> list[Job]:
    """One for each model of each seed."""
    return [
        Job(f"likelihood of {model} #{seed}", likelihood_stage, (model_name(place, model, seed),), (model,))
        for seed in seeds
        for model in place.plan.models
    ]


def likelihood_stage(place: Place, trained: Stage, model: str, *, line: int) -> Stage:
    """What the model tells of test images, in the columns of a row: the kind, bits per value and their standard error.

    Where it tells two, such as a bound and an estimate, the second is "bits_estimate".
    """
    data, contender = place.plan.data, FAMILIES[model]

    def work(_: Path) -> dict[str, Any]:
        test, levels = data.part("test"), grey_levels(data.part("train"))
        count = max(LEAST, min(MOST, NUMBERS // math.prod(test.shape)))
        places = evenly(test.labels, count, "likelihood")
        pipeline = load_pipeline(contender, trained.folder, place.device)
        told = contender.likelihoods(
            pipeline, load_images(test, places), test.labels[places], levels, keyed_generator("likelihood")
        )
        found: dict[str, Any] = {"likelihood": contender.density}
        for column, bits in zip(("bits_per_dimension", "bits_estimate"), told.values(), strict=False):
            found[column] = float(bits.mean())
        if told:
            found["bits_error"] = _error(next(iter(told.values())))
        return found

    known = {"code": CODE_VERSION, "model": trained.key, "data": place.data_digest, "images": [NUMBERS, LEAST, MOST]}
    return place.stage(f"likelihood-{model}", known, work)


def _error(bits: Tensor) -> float:
    return float(bits.std() / len(bits) ** 0.5)
