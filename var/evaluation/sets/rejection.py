"""Rejection sampling: keep the samples that a classifier is surest of. Its scores stand apart, never among others."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var import checks
from var.errors import UserError


def keep_most_confident(
    logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " _n"], share: float
) -> Int64[Tensor, " kept"]:
    """Indices, in order, of the `share` of samples with the highest probability of their own class.

    The published `-re` rows are made so (Razavi et al. 2019, arXiv 1906.00446). The share is taken of
    each class, rounded up, so that classes stay balanced; ties go to the earlier sample. The scores of what is kept are
    another model's: more images were drawn than are judged. Raises `UserError` for a share outside (0, 1], logits and
    labels that do not match, or NaN.
    """
    check_share(share)
    if len(logits) != len(labels):
        raise UserError(f"each sample needs logits and a label, got {len(logits)} and {len(labels)}; match them")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise UserError(
            f"labels must be from 0 to {logits.shape[1] - 1}, got {int(labels.min())} to {int(labels.max())}; "
            "use the classes of the classifier"
        )
    if not bool(torch.isfinite(logits).all()):
        raise UserError("logits must be finite to rank samples, got NaN or infinity; look at the classifier")
    confidence = logits.double().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    kept = []
    for label in labels.unique():
        places = (labels == label).nonzero()[:, 0]
        best = confidence[places].argsort(descending=True, stable=True)
        kept.append(places[best[: math.ceil(share * len(places))]])
    return torch.cat(kept).sort().values if kept else labels[:0]


def check_share(share: float) -> None:
    """Raise `UserError` unless so much of a set can be kept."""
    if not 0 < checks.argument("the share that is kept", share, float) <= 1:
        raise UserError(f"the share that is kept must be above 0 and at most 1, got {share}; 0.5 keeps half")
