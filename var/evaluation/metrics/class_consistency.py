"""Whether samples show the classes that they were asked to show."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from var.errors import UserError
from var.evaluation.features.extraction import Array


def class_consistency(logits: Float[Tensor, "n classes"], labels: Sequence[int] | Array) -> float:
    """Share, in [0, 1], of samples whose largest logit is that of their own label; class i is label i.

    Raises `UserError` for labels that are no whole numbers, not one for each sample, or of no class of the logits.
    """
    count, classes = logits.shape
    try:
        found = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    except ValueError as error:  # lists of several lengths
        raise UserError(
            f"labels must be {count} integers, one for each sample, got lists of others; mend them"
        ) from error
    if found.shape != (count,) or (count and found.dtype.kind not in "iu"):
        raise UserError(
            f"labels must be {count} integers, one for each sample, got {found.shape} of {found.dtype}; match them"
        )
    given = torch.as_tensor(found.astype(np.int64))
    if count and not 0 <= int(given.min()) <= int(given.max()) < classes:
        raise UserError(
            f"labels must be from 0 to {classes - 1}, got {int(given.min())} to {int(given.max())}; "
            f"use the classes of the extractor"
        )
    return (logits.argmax(dim=1) == given).double().mean().item()
