"""Training of autoencoders: the distance of reconstructions, and what a perceptual network and a discriminator say."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from var.data.batches import Batch
from var.errors import UserError
from var.evaluation.metrics.lpips import LPIPS, SMALLEST
from var.recipes.vqvae.gan import Adversary, build_adversary
from var.recipes.vqvae.losses import ReconstructionLosses
from var.training import TrainingConfig
from var.training.task import Numbers


class ReconstructionTask:
    """What tasks of autoencoders have in common; each adds its `loss`.

    The networks that `losses` asks for are made at once: a discriminator, whose weights depend on `seed` only, and
    LPIPS. Raises `UserError` if their weights cannot be had, or if images of `shape` (channels, height, width) do not
    fit them.
    """

    def __init__(
        self, model: nn.Module, losses: ReconstructionLosses, shape: tuple[int, int, int], *, seed: int
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # the layout in which convolutions are fastest
        self.losses = losses
        self._perceptual = _perceptual_network(shape, losses) if losses.perceptual else None
        self._adversary: Adversary | None = None
        if losses.adversarial:
            self._adversary = build_adversary(losses, shape[0], seed)
            with torch.no_grad():  # images that are too small should be refused now, not at the discriminator's start
                self._adversary.discriminator(torch.zeros(2, *shape))
        self._step = 0
        self._reconstructions: dict[int, Tensor] = {}

    @property
    def opponent(self) -> nn.Module | None:
        """The discriminator, None without an adversarial loss."""
        return self._adversary.discriminator if self._adversary else None

    @property
    def opponent_training(self) -> TrainingConfig:
        """The discriminator's learning rate, moments, weight decay and clip norm; nothing else of it is used."""
        names = ("learning_rate", "betas", "weight_decay", "clip_norm")
        return TrainingConfig(steps=1, **{name: getattr(self.losses, f"discriminator_{name}") for name in names})

    @property
    def opponent_learns(self) -> bool:
        """Whether the discriminator has started."""
        return self._step >= self.losses.adversarial_start

    def begin_step(self, step: int) -> None:
        """Hear the number of the coming step, which decides whether the discriminator trains and is listened to."""
        self._step = step
        self._reconstructions.clear()

    def judged(
        self,
        reconstruction: Float[Tensor, "batch c h w"],
        batch: Batch,
        last_layer: Tensor,
        generator: torch.Generator,
        *,
        shown: Float[Tensor, "batch c h w"] | None = None,
    ) -> tuple[Tensor, Numbers]:
        """The weighted losses of a reconstruction of the `batch`, and numbers to log.

        `last_layer` is the weight of the decoder's last layer, at which gradients are compared; `shown` is what the
        discriminator sees in place of the reconstruction.
        """
        distance, numbers = self._distance(reconstruction, batch.images)
        if not (self._adversary and self.opponent_learns):
            return distance, numbers
        shown = reconstruction if shown is None else shown
        self._reconstructions[id(batch)] = shown.detach()
        if not (weight := self.losses.adversarial_weight(self._step)):
            return distance, numbers
        judgement, judged = self._adversary.judgement(shown, distance, last_layer, weight, generator)
        return distance + judgement, numbers | judged

    def opponent_loss(self, opponent: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """The discriminator's loss on the `batch` that `loss` reconstructed in this step."""
        assert self._adversary is not None, "a task without an opponent has no loss of it"
        reconstruction = self._reconstructions.pop(id(batch))
        return self._adversary.loss(opponent, batch.images, reconstruction, generator)

    def state_dict(self) -> dict[str, Any]:
        """What the discriminator's losses remember."""
        return {"judged_means": self._adversary.means} if self._adversary else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        if self._adversary:
            self._adversary.means = state["judged_means"]

    def _distance(self, reconstruction: Tensor, images: Tensor) -> tuple[Tensor, Numbers]:
        """Weighted distance of reconstruction and images, and its parts; "reconstruction" is always the squared one."""
        squared = F.mse_loss(reconstruction, images)
        numbers: Numbers = {"reconstruction": squared.detach()}
        loss = self.losses.l2 * squared
        if self.losses.l1:
            absolute = F.l1_loss(reconstruction, images)
            loss = loss + self.losses.l1 * absolute
            numbers["absolute"] = absolute.detach()
        if self._perceptual:
            perceptual = self._perceptual.to(images.device)(reconstruction.float(), images).mean()
            loss = loss + self.losses.perceptual * perceptual
            numbers["perceptual"] = perceptual.detach()
        return loss, numbers


def _perceptual_network(shape: tuple[int, int, int], losses: ReconstructionLosses) -> LPIPS:
    """LPIPS with its published weights; raises `UserError` for images that it cannot see."""
    channels, height, width = shape
    if channels not in (1, 3) or min(height, width) < SMALLEST:
        raise UserError(
            f"the perceptual loss needs images of 1 or 3 channels and at least {SMALLEST} pixels per side, got "
            f"{channels} x {height} x {width}; set perceptual to 0"
        )
    return LPIPS.load(losses.lpips_vgg16, losses.lpips_heads)
