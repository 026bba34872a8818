"""Grey levels by a logistic distribution (Salimans et al. 2017, arXiv 1701.05517, Section 2.1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST_LOG_SCALE = -7.0
"""Of a distribution; below, gradients of levels that are not the likeliest one would explode."""


def log_mass(
    values: Float[Tensor, "*#any"], means: Float[Tensor, "*any"], log_scales: Float[Tensor, "*any"], levels: int
) -> Float[Tensor, "*any"]:
    """Log of the mass on each value's bin, of `levels` from -1 to 1; the outermost bins reach to infinity (Eq. 2)."""
    half, inverse = 1 / (levels - 1), (-log_scales).exp()
    above, below = (values - means + half) * inverse, (values - means - half) * inverse
    # log(s(above) - s(below)) for the logistic function s, as a sum without cancellation.
    inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * half * inverse))
    inside = torch.where(values < half - 1, F.logsigmoid(above), inside)
    return torch.where(values > 1 - half, F.logsigmoid(-below), inside)


def drawn_levels(
    means: Float[Tensor, "*any"], scales: Float[Tensor, "*any"], uniform: Float[Tensor, "*any"], levels: int
) -> Float[Tensor, "*any"]:
    """Levels from -1 to 1 by the inverse of the distribution at numbers drawn `uniform`ly from [0, 1)."""
    steps = (levels - 1) / 2
    values = (means + scales * torch.logit(uniform, eps=1e-6)).clamp(-1, 1)
    return ((values + 1) * steps).round() / steps - 1
