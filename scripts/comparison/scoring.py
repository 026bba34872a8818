"""The numbers of a report: scores of all samples, the controls beside them, and the tokenizer's health."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from comparison.settings import Comparison
from var.data.arrays import ArrayData
from var.data.base import ImageData
from var.data.catalog import open_data
from var.evaluation import Reference, Scores, evaluate, frechet_distance, judging, psnr
from var.evaluation.features.classifier import Classifier
from var.evaluation.features.extraction import extract
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.sets.controls import gaussian_per_class, real_halves, token_marginals
from var.images import to_uint8
from var.recipes.vqvae.codebook_health import code_use, count_codes
from var.vqvae import VQVAE

SEED = 0
"""Of the controls, which are drawn alike whatever the models' seed."""


def all_images(data: ImageData) -> Tensor:
    """Every image of a data set, (n, channels, height, width) in [-1, 1]."""
    return data.images if isinstance(data, ArrayData) else torch.stack([data.load(i) for i in range(len(data))])


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Both feature networks and the real images as they see them."""

    judge: Classifier
    second: Classifier
    reference: Reference
    second_reference: Reference

    @classmethod
    def of(cls, data: str, judge: Classifier, second: Classifier) -> "Evaluator":
        """The reference is all real images; copies are looked for among those that were trained on."""
        real, train, test = (to_uint8(all_images(open_data(data, split=split))) for split in ("all", "train", "test"))
        return cls(
            judge,
            second,
            Reference.from_images(real, judge, train_images=train, test_images=test),
            Reference.from_images(real, second),
        )

    def scores(self, images: Tensor, labels: Tensor | None = None, *, thorough: bool = False) -> dict[str, Any]:
        """Scores of uint8 images, and "fd_second": their distance in the features of the second network."""
        scores = evaluate(images, self.reference, self.judge, labels=labels, thorough=thorough)
        second = Statistics.from_features(extract(images, self.second).features)
        return _known(scores) | {"fd_second": frechet_distance(self.second_reference.statistics, second)}


def score_report(
    evaluator: Evaluator, name: str, sets: list[Tensor], labels: Tensor, reference: str, protocol: dict[str, Any]
) -> ScoreReport:
    """The report that `var evaluate` makes, of sets of samples that were drawn with different seeds."""
    return judging.score_report(
        name,
        evaluator.judge,
        evaluator.reference,
        [({"path": f"set {number}", "samples": len(images)}, labels) for number, images in enumerate(sets)],
        [evaluator.scores(images, labels, thorough=True) for images in sets],
        reference={"path": reference, "images": evaluator.reference.statistics.count},
        protocol=protocol,
    )


def controls(evaluator: Evaluator, plan: Comparison, vqvae: VQVAE) -> dict[str, dict[str, Any]]:
    """What the scores of a model are to be read against; see the titles in `comparison.report.columns`."""
    train = open_data(plan.data, split="train")
    test = open_data(plan.data, split="test")
    images, classes = all_images(train), len(train.classes)
    test_images = to_uint8(all_images(test))
    half, other_half = real_halves(all_images(open_data(plan.data, split="all")), SEED)
    wanted = torch.arange(classes).repeat_interleave(plan.per_class)
    gaussian = gaussian_per_class(images, train.labels, plan.per_class, SEED)
    with torch.inference_mode():
        maps = token_marginals(vqvae.encode(images), train.labels, classes, plan.per_class, SEED)
        marginals = vqvae.decode(maps)
    return {
        "real_test": evaluator.scores(test_images, test.labels),
        "test_against_train": _pair_scores(evaluator, to_uint8(images), test_images),
        "real_halves": _pair_scores(evaluator, to_uint8(half), to_uint8(other_half)),
        "class_gaussian": evaluator.scores(to_uint8(gaussian), wanted),
        "token_marginals": evaluator.scores(to_uint8(marginals), wanted),
    }


def _pair_scores(evaluator: Evaluator, reference: Tensor, images: Tensor) -> dict[str, Any]:
    """Scores of real images against other real images than the report's reference."""
    return _known(evaluate(images, Reference.from_images(reference, evaluator.judge), evaluator.judge))


def _known(scores: Scores) -> dict[str, Any]:
    return {key: value for key, value in scores.to_dict().items() if value is not None}


def tokenizer_numbers(evaluator: Evaluator, plan: Comparison, vqvae: VQVAE, record: dict[str, Any]) -> dict[str, Any]:
    """Reconstruction of test and training images, and how much of the codebook they use, by scale."""
    train, test = (all_images(open_data(plan.data, split=split)) for split in ("train", "test"))
    with torch.inference_mode():
        token_maps = vqvae.encode(train)
        decoded_train, decoded_test = vqvae.decode(token_maps), vqvae.reconstruct(test)
    counts = count_codes(token_maps, vqvae.config.vocabulary)
    usage, perplexity = code_use(counts)
    return {
        "psnr_test": float(psnr(to_uint8(test), to_uint8(decoded_test)).mean()),
        "psnr_train": float(psnr(to_uint8(train), to_uint8(decoded_train)).mean()),
        "reconstruction_fd": evaluator.scores(to_uint8(decoded_train))["fd"],
        "codes_used": float(code_use(counts.sum(0))[0]),
        "sides": list(vqvae.config.sides),
        "usage_by_scale": usage.tolist(),
        "perplexity_by_scale": perplexity.tolist(),
        "parameters": record["parameters"],
        "train_seconds": record["train_seconds"],
    }
