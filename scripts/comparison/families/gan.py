"""A generative adversarial network (arXiv 1406.2661) of plain linear layers, told the class, on the tokenizer's losses.

The tokenizer's PatchGAN, shown a plane of the class, let the images of a class become one in equal seconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from comparison.families.decoding import LABEL
from comparison.families.family import Family, FamilyRun, trained
from comparison.families.model import FamilyNetwork, ImageConfig, Sampling, normal_draws
from var import checks
from var.conditions import ClassEmbedding, Shown
from var.data.batches import Batch
from var.linear import Linear
from var.randomness import keyed_global_stream
from var.recipes.vqvae.diffaugment import Policy, diff_augment
from var.recipes.vqvae.gan_losses import discriminator_loss, generator_loss, r1_penalty
from var.training import TrainingConfig
from var.training.task import Numbers

AUGMENTATIONS: tuple[Policy, ...] = ("translation",)  # without them 1,500 digits are learnt by heart
Loss = Literal["non-saturating", "hinge", "wasserstein"]
ADAM = {"optimizer": "adamw", "learning_rate": 5e-4, "betas": (0.0, 0.99), "weight_decay": 0.0, "clip_norm": 10.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class GANConfig(ImageConfig):
    """The defaults are for the digits."""

    latent: int = 32  # normal numbers of an image
    hidden: int = 256  # width of the layers of both networks
    layers: int = 3  # so wide, in each
    loss: Loss = "non-saturating"  # recall on digits after 1800 steps .73; hinge .71, wasserstein .14 (3600: .28)
    penalty: float = 0.3  # weight of R1; with the Wasserstein loss of the gradient's distance from 1, then 10

    def __post_init__(self) -> None:
        ImageConfig.__post_init__(self)
        checks.at_least(1, self, "latent", "hidden", "layers")
        checks.not_negative(self, "penalty")


class GAN(FamilyNetwork):
    """Normal noise and a class, turned into an image."""

    config_class = GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig) -> None:
        super().__init__()
        self.config = config
        self.label = ClassEmbedding(config.num_classes, LABEL)
        widths = [config.latent + LABEL, *[config.hidden] * config.layers]
        body = [(Linear(*pair), nn.LayerNorm(pair[1]), nn.SiLU()) for pair in pairwise(widths)]
        last = Linear(config.hidden, math.prod(config.shape))
        self.body = nn.Sequential(*chain.from_iterable(body), last, nn.Tanh(), nn.Unflatten(1, config.shape))

    def forward(self, noise: Float[Tensor, "batch latent"], shown: Shown) -> Float[Tensor, "batch c h w"]:  # pyright: ignore
        """Images in [-1, 1]."""
        return self.body(torch.cat((noise, self.label(shown)), dim=1))

    def sample(
        self, labels: Int64[Tensor, " batch"], generators: Sequence[Generator], sampling: Sampling
    ) -> Float[Tensor, "batch c h w"]:
        """One image of noise, whose spread the temperature scales."""
        return self(sampling.temperature * normal_draws((self.config.latent,), generators, labels.device), labels)


class Critic(nn.Module):
    """Features of an image, and how well they fit the class (arXiv 1802.05637, Eq. 3)."""

    def __init__(self, config: GANConfig) -> None:
        super().__init__()
        self.label = ClassEmbedding(config.num_classes, config.hidden)
        widths = [math.prod(config.shape), *[config.hidden] * config.layers]
        body = [(Linear(*pair), nn.LeakyReLU(0.2)) for pair in pairwise(widths)]
        self.body = nn.Sequential(nn.Flatten(), *chain.from_iterable(body))
        self.last = Linear(config.hidden, 1)

    def forward(self, images: Float[Tensor, "batch c h w"], shown: Shown) -> Float[Tensor, "batch places"]:
        """Logits of "real", one of each image."""
        features = self.body(images)
        return self.last(features) + (features * self.label(shown)).sum(1, keepdim=True) / features.shape[1] ** 0.5


class GANTask:
    """Generator and critic, a step each."""

    def __init__(self, network: GAN, seed: int) -> None:
        self.model, self.config = network, network.config
        with keyed_global_stream("critic", seed):
            self.opponent = Critic(self.config)
        self.opponent_training = replace(TrainingConfig(steps=1, **ADAM), learning_rate=2e-3)  # two time scales
        self._drawn: dict[int, Tensor] = {}

    def loss(self, model: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """What the critic thinks of drawn images of the batch's classes."""
        noise = torch.randn(len(batch.images), self.config.latent, generator=generator, device=batch.images.device)
        drawn = model(noise, batch.condition)
        self._drawn[id(batch)] = drawn.detach()
        (seen,) = diff_augment([drawn], AUGMENTATIONS, generator)
        kind = "hinge" if self.config.loss == "wasserstein" else self.config.loss  # both raise the mean judgement
        return generator_loss(self.opponent(seen, batch.condition), kind), {}

    def opponent_loss(self, opponent: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """What the critic minimises, on the images that `loss` drew."""
        real, drawn = diff_augment([batch.images, self._drawn.pop(id(batch))], AUGMENTATIONS, generator)
        judged = opponent(real.requires_grad_(), batch.condition)
        loss = critic_loss(judged, opponent(drawn, batch.condition), self.config.loss)
        if self.config.loss == "wasserstein":
            shares = torch.rand(len(real), 1, 1, 1, generator=generator, device=real.device)
            between = torch.lerp(drawn, real.detach(), shares).requires_grad_()
            penalty = gradient_penalty(opponent(between, batch.condition), between)
        else:
            penalty = r1_penalty(judged, real) / 2
        return loss + self.config.penalty * penalty, {"judged": loss.detach(), "penalty": penalty.detach()}


def critic_loss(
    real: Float[Tensor, "batch places"], drawn: Float[Tensor, "batch places"], kind: Loss
) -> Float[Tensor, ""]:
    """What the critic minimises; Wasserstein's is the difference of the means (arXiv 1701.07875, Eq. 2)."""
    return drawn.mean() - real.mean() if kind == "wasserstein" else discriminator_loss(real, drawn, kind)


def gradient_penalty(logits: Float[Tensor, "batch places"], images: Float[Tensor, "batch c h w"]) -> Float[Tensor, ""]:
    """Mean squared distance from 1 of the norm of each image's mean logit's gradient (arXiv 1704.00028, Eq. 3)."""
    (gradient,) = torch.autograd.grad(logits.mean(dim=1).sum(), images, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


class GANFamily(Family):
    """A conditional GAN."""

    key, title, word, color = "gan", "GAN", "GAN", "red"
    network_class = GAN
    how = "A network turns normal noise into an image, as a critic that learnt beside it could not tell from real ones."
    cannot = "cannot tell how likely an image is, and may draw one image of a class again and again"
    training = trained(**ADAM, batch_size=128, schedule="constant", ema_decay=0.995)

    def task(self, network: GAN, run: FamilyRun, before: Mapping[str, Path]) -> GANTask:
        """With the critic."""
        return GANTask(network, run.training.seed)
