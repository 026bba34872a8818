"""The numbers of a report: scores of all samples, and the controls beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from comparison.contenders import Contender
from comparison.data import DataSet, Real, real_images
from comparison.ratio import distance_ratio, subsets
from comparison.sampling import sample_labels
from comparison.settings import Comparison
from var.evaluation import Reference, Scores, TextJudge, evaluate, frechet_distance, judging
from var.evaluation.features.classifier import Classifier
from var.evaluation.features.extraction import extract
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.sets.controls import gaussian_per_class, real_halves
from var.evaluation.table import TABLE
from var.images import from_uint8, to_uint8
from var.text import open_encoder

SEED = 0
"""Of the controls, which are drawn alike whatever the models' seed."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Both feature networks, and the real images as they see them."""

    judge: Classifier
    second: Classifier
    reference: Reference
    second_reference: Reference
    others: Real  # real images that the reference does not hold, or those of it that nobody trained on
    other_features: tuple[Float[Tensor, "n d"], Float[Tensor, "n d2"]]  # of both networks
    words: TextJudge | None  # where samples are asked for by captions

    @classmethod
    def of(cls, data: DataSet, part: str, judge: Classifier, second: Classifier) -> "Evaluator":
        """The reference is a part of the data; copies are looked for among the images that were trained on."""
        real, train, test = (real_images(data, name) for name in (part, "train", "test"))
        others = test if part == "all" else train
        near = {"train_images": train.images, "test_images": test.images} if data.trained_on else {}
        return cls(
            judge,
            second,
            Reference.from_images(real.images, judge, **near),
            Reference.from_images(real.images, second),
            others,
            (extract(others.images, judge).features, extract(others.images, second).features),
            _text_judge(data) if data.captions else None,
        )

    def scores(
        self,
        images: UInt8[Tensor, "n c h w"],
        labels: Int64[Tensor, " n"] | None = None,
        *,
        thorough: bool = False,
        prompts: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Scores of uint8 images, by both networks; with the `prompts` that they were asked for by, of these too.

        "fd_second" is the distance in the features of the second network, "fd_ratio" and "fd_second_ratio" are FDr.
        """
        text = None if self.words is None or prompts is None else self.words.judge(images, prompts)
        scores = _known(evaluate(images, self.reference, self.judge, labels=labels, text=text, thorough=thorough))
        second = extract(images, self.second).features
        real = self.second_reference.statistics
        scores["fd_second"] = frechet_distance(real, Statistics.from_features(second))
        if labels is not None:
            features = (extract(images, self.judge).features, second)
            scores |= self._ratios(features, labels)
        return scores

    def distance(self, images: UInt8[Tensor, "n c h w"]) -> float:
        """The Frechet distance of uint8 images alone, which takes a small part of the time of all scores."""
        found = Statistics.from_features(extract(images, self.judge).features)
        return frechet_distance(self.reference.statistics, found)

    def _ratios(self, features: tuple[Tensor, Tensor], labels: Tensor) -> dict[str, float]:
        real = (self.reference.statistics, self.second_reference.statistics)
        names = ("fd_ratio", "fd_second_ratio")
        found = {
            name: distance_ratio(own, labels, others, self.others.labels, statistics)
            for name, own, others, statistics in zip(names, features, self.other_features, real, strict=True)
        }
        return {name: each[0] for name, each in found.items() if each is not None}


@lru_cache(maxsize=1)
def _text_judge(data: DataSet) -> TextJudge:
    """What judges words, trained on the captioned training images; the same in every process."""
    encoder = open_encoder("minilm", progress=False)
    return TextJudge.trained(data.part("train"), lambda texts: encoder(texts).vectors, progress=False)


def score_report(
    evaluator: Evaluator,
    name: str,
    sets: list[Tensor],
    labels: Tensor,
    prompts: Sequence[str] | None,
    reference: str,
    protocol: dict[str, Any] | None,
) -> ScoreReport:
    """The report that `var evaluate` makes, of sets of samples that were drawn with different seeds."""
    return judging.score_report(
        name,
        evaluator.judge,
        evaluator.reference,
        [({"path": f"set {number}", "samples": len(images)}, labels) for number, images in enumerate(sets)],
        [evaluator.scores(images, labels, thorough=True, prompts=prompts) for images in sets],
        reference={"path": reference, "images": evaluator.reference.statistics.count},
        protocol=protocol,
    )


def controls(evaluator: Evaluator, plan: Comparison) -> dict[str, dict[str, Any]]:
    """What the scores of all models are to be read against; see the titles in `comparison.report.columns`."""
    train, test = (real_images(plan.data, part) for part in ("train", "test"))
    halves = real_halves(from_uint8(real_images(plan.data, plan.data.reference).images), SEED)
    wanted = sample_labels(plan)
    most = int(torch.bincount(wanted).max())
    gaussian = gaussian_per_class(from_uint8(train.images), train.labels, most, SEED)
    if plan.data.reference == "all":
        real = {"real_test": evaluator.scores(test.images, test.labels)}
    else:
        real = {"real_images": _real_images(evaluator, wanted, test, _captions(plan.data, test))}
    return real | {
        "test_against_train": _pair_scores(evaluator, train.images, test.images),
        "real_halves": _pair_scores(evaluator, *map(to_uint8, halves)),
        "class_gaussian": evaluator.scores(to_uint8(gaussian)[first_of_each(wanted, most)], wanted),
    }


def model_controls(evaluator: Evaluator, plan: Comparison, contender: Contender, pipeline: Any) -> dict[str, Any]:
    """The controls that are made of parts of a trained model."""
    train, wanted = real_images(plan.data, "train"), sample_labels(plan)
    most = int(torch.bincount(wanted).max())
    with torch.inference_mode():
        found = contender.controls(pipeline, from_uint8(train.images), train.labels, most, SEED)
    places = first_of_each(wanted, most)
    return {name: evaluator.scores(to_uint8(images)[places], wanted) for name, images in found.items()}


def health(evaluator: Evaluator, plan: Comparison, contender: Contender, pipeline: Any) -> dict[str, Any]:
    """The numbers on a model's tokenizer."""
    train, test = (from_uint8(real_images(plan.data, part).images) for part in ("train", "test"))
    with torch.inference_mode():
        return contender.health(pipeline, train, test, lambda images: evaluator.distance(to_uint8(images)))


def first_of_each(labels: Int64[Tensor, " n"], most: int) -> Int64[Tensor, " n"]:
    """Where images of `labels` lie among `most` of each class, class by class."""
    places = torch.empty_like(labels)
    for label in labels.unique().tolist():
        mine = labels == label
        places[mine] = label * most + torch.arange(int(mine.sum()))
    return places


def _captions(data: DataSet, test: Real) -> list[str] | None:
    """Of real test images; None where nothing is asked for by captions."""
    if not data.captions:
        return None
    captions = data.part("test").captions  # pyright: ignore[reportAttributeAccessIssue]
    return [captions[place] for place in test.places.tolist()]


def _real_images(evaluator: Evaluator, wanted: Tensor, test: Real, captions: list[str] | None) -> dict[str, Any]:
    """The distances are those of other real images, as many and of such classes as samples are; all else of the test's.

    For test images would be compared with themselves, and training images are their own nearest ones.
    """
    others = evaluator.others
    classes = 1 + int(max(wanted.max(), others.labels.max()))
    counts = [torch.bincount(labels, minlength=classes) for labels in (wanted, others.labels)]
    draws = [evaluator.scores(others.images[some]) for some in subsets(others.labels, torch.minimum(*counts))]
    mean = {key: sum(draw[key] for draw in draws) / len(draws) for key in draws[0]}
    tested = evaluator.scores(test.images, test.labels, prompts=captions)
    kept = ["class_consistency", "nearest_train_distance", "closer_share"]
    kept += [score.key for score in TABLE if "text" in score.needs]
    return {**mean, "samples": draws[0]["samples"], **{key: tested[key] for key in kept if key in tested}}


def _pair_scores(evaluator: Evaluator, reference: Tensor, images: Tensor) -> dict[str, Any]:
    """Scores of real images against other real images than the report's reference."""
    return _known(evaluate(images, Reference.from_images(reference, evaluator.judge), evaluator.judge))


def _known(scores: Scores) -> dict[str, Any]:
    return {key: value for key, value in scores.to_dict().items() if value is not None}
