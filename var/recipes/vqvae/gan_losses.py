"""Adversarial losses: what a discriminator minimises, what it tells the autoencoder, and what keeps both in balance."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

GanLoss = Literal["hinge", "non-saturating"]


def discriminator_loss(
    real: Float[Tensor, "batch places"], fake: Float[Tensor, "batch places"], kind: GanLoss
) -> Float[Tensor, ""]:
    """What the discriminator minimises, given its logits of "real".

    Hinge (Lim and Ye 2017, arXiv 1705.02894): mean(relu(1 - real) + relu(1 + fake)) / 2; non-saturating (Goodfellow et
    al. 2014, arXiv 1406.2661): mean(softplus(-real) + softplus(fake)) / 2.
    """
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def generator_loss(fake: Float[Tensor, "batch places"], kind: GanLoss) -> Float[Tensor, ""]:
    """What the autoencoder minimises, given the logits of its reconstructions: mean(-fake) or mean(softplus(-fake))."""
    return -fake.mean() if kind == "hinge" else F.softplus(-fake).mean()


def adaptive_weight(loss: Tensor, judgement: Tensor, last_layer: Tensor, limit: float) -> Float[Tensor, ""]:
    """Ratio of the gradients' norms of `loss` and `judgement` at the weight of the decoder's last layer, up to `limit`.

    Esser et al. 2021, arXiv 2012.09841, Eq. 7. A constant: no gradient flows through it.
    """
    (of_loss,) = torch.autograd.grad(loss, last_layer, retain_graph=True)
    (of_judgement,) = torch.autograd.grad(judgement, last_layer, retain_graph=True)
    return (of_loss.norm() / (of_judgement.norm() + 1e-6)).clamp(0, limit).detach()


def r1_penalty(logits: Float[Tensor, "batch places"], images: Float[Tensor, "batch c h w"]) -> Float[Tensor, ""]:
    """Mean squared norm of the gradient of each image's mean logit (Mescheder et al. 2018, arXiv 1801.04406, Eq. 9).

    The mean over places, so that the weight does not depend on how many a discriminator judges. Differentiable.
    """
    (gradient,) = torch.autograd.grad(logits.mean(dim=1).sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def lecam_penalty(
    real: Float[Tensor, "batch places"],
    fake: Float[Tensor, "batch places"],
    real_mean: Float[Tensor, ""],
    fake_mean: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """How far each side is judged beyond the other side's running mean (Tseng et al. 2021, arXiv 2104.03310, Eq. 4).

    E[|real - fake_mean|^2] + E[|real_mean - fake|^2].
    """
    return (real - fake_mean).square().mean() + (real_mean - fake).square().mean()
