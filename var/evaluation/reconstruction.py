"""How near a reconstruction is to its image."""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from var.errors import UserError
from var.evaluation.features import Array


def psnr(images: Array, reconstructions: Array) -> Float64[Tensor, " batch"]:
    """Peak signal-to-noise ratio of each image, in dB: -10 log10 of the mean squared error at peak 1; equal: inf.

    Both are uint8 (0..255), or both float in [0, 1], of shape (batch, ...). Average the result over images: the
    ratio of a whole set at once is another number.

    Raises:
        UserError: different shapes or types, or values outside [0, 1].
    """
    a, b = _unit_range(images, "images"), _unit_range(reconstructions, "reconstructions")
    if a.shape != b.shape or a.ndim < 2:
        raise UserError(f"images and reconstructions must have one shape (batch, ...), got {a.shape} and {b.shape}")
    error = torch.from_numpy(((a - b) ** 2).reshape(len(a), -1).mean(axis=1))
    return -10 * error.log10()


def _unit_range(images: Array, name: str) -> Float64[np.ndarray, "..."]:
    tensor = torch.as_tensor(images).detach().cpu()
    if tensor.dtype == torch.uint8:
        return tensor.double().numpy() / 255
    if not tensor.is_floating_point():
        raise UserError(f"{name} must be uint8 or float in [0, 1], got {tensor.dtype}; convert them")
    values = tensor.double()
    # Written so that NaN fails too.
    if values.numel() and not (values.min() >= 0 and values.max() <= 1):
        low, high = values.min().item(), values.max().item()
        raise UserError(f"{name} must be in [0, 1], got [{low:.3g}, {high:.3g}]; map [-1, 1] with (x + 1) / 2")
    return values.numpy()
