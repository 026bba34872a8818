"""Who says which class an image shows: a network whose class i is label i."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from var.errors import UserError
from var.evaluation.features.extraction import FeatureExtractor, Features, extract, label_logits
from var.evaluation.sets.samples import SampleSet

UNKNOWN_CLASSES = "Class consistency: not measured, since {name} does not tell these classes; give a classifier."


def choose_classifier(
    sets: Sequence[SampleSet], extractor: FeatureExtractor, classifier: FeatureExtractor | None
) -> FeatureExtractor | None:
    """Who tells the classes of `sets`: `classifier` if there is one, else the extractor if it can, else None.

    None, too, for sets without labels. Raises `UserError` for a `classifier` without a class for each label, and for a
    set whose labels the judge does not have.
    """
    if classifier is None and all(one.labels is None for one in sets):
        return None
    judge = classifier or extractor
    logits = label_logits(judge, judge(next(sets[0].batches(1))))
    if logits is None:
        if classifier is not None:
            raise UserError(
                f"a classifier must give a logit for every label, got {classifier.name!r} without; use another one"
            )
        return None
    for one in sets:
        if one.labels is not None and not 0 <= int(one.labels.min()) <= int(one.labels.max()) < logits.shape[1]:
            raise UserError(
                f"labels must be from 0 to {logits.shape[1] - 1}, the classes of {judge.name!r}, got "
                f"{int(one.labels.min())} to {int(one.labels.max())} in {one.path}; judge with a classifier of them"
            )
    return judge


def class_logits(
    one: SampleSet, judge: FeatureExtractor | None, extractor: FeatureExtractor, seen: Features, *, progress: bool
) -> Float[Tensor, "n classes"] | None:
    """What `judge` says of the images of a labelled set; `seen` is what the extractor said of them."""
    if judge is None or one.labels is None:
        return None
    if judge is extractor:
        return seen.logits
    return extract(one.batches(), judge, name="samples' classes", progress=progress, total=one.count).logits
