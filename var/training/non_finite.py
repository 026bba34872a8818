"""The error of a loss or gradient that is not finite; it names the images."""

from collections.abc import Sequence
from math import isfinite

from torch import Tensor

from var.data.base import ImageData
from var.data.batches import Batch
from var.errors import UserError, listed
from var.training.distributed import Processes

_NAMED = 16  # images in a message


class NonFiniteLossError(UserError):
    """The loss or its gradient was NaN or infinite on some process; no process took that step."""


def non_finite_error(
    kind: str, step: int, loss: Tensor, norm: Tensor, batches: Sequence[Batch], data: ImageData, processes: Processes
) -> NonFiniteLossError:
    """The error of `step` (from 0), the same on every process: it names the images of a process where it arose."""
    indices = [index for batch in batches for index in batch.indices.tolist()]
    reports = processes.gather((float(loss), listed([data.describe(index) for index in indices], _NAMED)))
    # Gradients were averaged, so that only the loss tells where it began, if it does.
    began = next((rank for rank, (value, _) in enumerate(reports) if not isfinite(value)), None)
    unknown = f"one of {len(reports)} processes; rank 0 had"
    where = unknown if began is None and len(reports) > 1 else f"rank {began or 0}"
    value, images = reports[began or 0]
    return NonFiniteLossError(
        f"the {kind} must be finite, got {kind} {value:g} with gradient norm {float(norm):g} at step {step + 1} of "
        f"{where} (images: {images}); lower the learning rate or look at these images"
    )
