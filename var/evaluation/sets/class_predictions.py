"""Who says which class an image shows: a network whose class i is label i."""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from var.errors import UserError
from var.evaluation.features.extraction import FeatureExtractor, Features, extract, label_logits
from var.evaluation.sets.class_labels import class_labels, tells_classes
from var.evaluation.sets.samples import SampleSet
from var.names import shown

UNKNOWN_CLASSES = "Class consistency: not measured, since {name} does not tell these classes; give a classifier."


def choose_classifier(
    sets: Sequence[SampleSet], extractor: FeatureExtractor, classifier: FeatureExtractor | None
) -> tuple[FeatureExtractor | None, list[SampleSet], list[str]]:
    """Who tells the classes of `sets`, the sets with their labels among that judge's classes, and cautions.

    It is `classifier` if there is one, else the extractor if it can, else None, as for sets that say nothing of
    classes. Raises `UserError` for a `classifier` without a class for each label, and for a set whose labels the judge
    does not have.
    """
    if classifier is None and not any(map(tells_classes, sets)):
        return None, list(sets), []
    judge = classifier or extractor
    logits = label_logits(judge, judge(next(sets[0].batches(1))))
    if logits is None:
        if classifier is not None:
            raise UserError(
                f"a classifier must give a logit for every label, got {classifier.name!r} without; use another one"
            )
        return None, list(sets), [UNKNOWN_CLASSES.format(name=shown(extractor.name))]
    named, cautions = [], []
    for one in sets:
        labels, caution = class_labels(one, logits.shape[1], getattr(judge, "class_names", None))
        cautions += [] if caution is None else [caution]
        if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
            raise UserError(
                f"labels must be from 0 to {logits.shape[1] - 1}, the classes of {judge.name!r}, got "
                f"{int(labels.min())} to {int(labels.max())} in {one.path}; judge with a classifier of them"
            )
        named.append(replace(one, labels=labels))
    return judge, named, cautions


def class_logits(
    one: SampleSet, judge: FeatureExtractor | None, extractor: FeatureExtractor, seen: Features, *, progress: bool
) -> Float[Tensor, "n classes"] | None:
    """What `judge` says of the images of a labelled set; `seen` is what the extractor said of them."""
    if judge is None or one.labels is None:
        return None
    if judge is extractor:
        return seen.logits
    return extract(one.batches(), judge, name="samples' classes", progress=progress, total=one.count).logits
