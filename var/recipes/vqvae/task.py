"""Training of the tokenizer: reconstruction, quantisation, and what a perceptual network and a discriminator say."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from var.data.batches import Batch
from var.errors import UserError
from var.evaluation.metrics.lpips import LPIPS, SMALLEST
from var.recipes.vqvae.codebook_health import CodebookWatch
from var.recipes.vqvae.gan import Adversary, build_adversary
from var.recipes.vqvae.losses import VQVAELosses
from var.training import TrainingConfig
from var.training.task import Numbers
from var.vqvae import VQVAE, VQVAEOutput


class VQVAETask:
    """Reconstruct images through the multi-scale codes.

    The networks that `losses` asks for are made at once: a discriminator, whose weights depend on `seed` only, and
    LPIPS. Raises `UserError` if their weights cannot be had, or if the images of `model` do not fit them.
    """

    def __init__(self, model: VQVAE, losses: VQVAELosses | None = None, *, seed: int = 0) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # the layout in which convolutions are fastest
        self.losses = losses or VQVAELosses()
        self._watch = CodebookWatch(model.config)
        self._perceptual = _perceptual_network(model, self.losses) if self.losses.perceptual else None
        self._adversary: Adversary | None = None
        if self.losses.adversarial:
            self._adversary = build_adversary(self.losses, model.config.in_channels, seed)
            with torch.no_grad():  # images that are too small should be refused now, not at the discriminator's start
                self._adversary.discriminator(torch.zeros(2, model.config.in_channels, *model.config.image_size))
        self._step = 0
        self._reconstructions: dict[int, Tensor] = {}

    @property
    def find_unused_parameters(self) -> bool:
        """Whether steps leave the quantiser without gradient: all of it at first, or a phi that serves no scale."""
        quantizer = self.model.quantizer
        return self.losses.quantize_from > 0 or len(set(quantizer.phi_index)) < len(quantizer.phi)

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

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """The weighted losses of the reconstruction and of its codes."""
        losses = self.losses
        quantize = self._step >= losses.quantize_from
        output: VQVAEOutput = model(
            batch.images,
            generator,
            entropy_temperature=losses.entropy_temperature if losses.entropy else None,
            quantize=quantize,
        )
        reconstruction_loss, numbers = self._distance(output.reconstruction, batch.images)
        loss = reconstruction_loss + output.quantization_loss
        if quantize:
            numbers |= _codes(output)
        if output.entropies is not None:
            of_choice, of_codes = output.entropies
            loss = loss + losses.entropy * (of_choice - losses.entropy_diversity * of_codes)
            numbers |= {"choice_entropy": of_choice.detach(), "code_entropy": of_codes.detach()}
        if self._adversary and self.opponent_learns:
            self._reconstructions[id(batch)] = output.reconstruction.detach()
            if weight := losses.adversarial_weight(self._step):
                last_layer = self.model.decoder.conv_out.weight
                judgement, judged = self._adversary.judgement(
                    output.reconstruction, reconstruction_loss, last_layer, weight, generator
                )
                loss = loss + judgement
                numbers |= judged
        return loss, numbers

    def opponent_loss(self, opponent: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """The discriminator's loss on the `batch` that `loss` reconstructed in this step."""
        assert self._adversary is not None, "a task without an opponent has no loss of it"
        reconstruction = self._reconstructions.pop(id(batch))
        return self._adversary.loss(opponent, batch.images, reconstruction, generator)

    def warnings(self, step: int, numbers: Mapping[str, float]) -> list[str]:
        """Alarms, in sentences, about codes that fall out of use."""
        return self._watch.alarms(step - self.losses.quantize_from, numbers) if "usage_0" in numbers else []

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


def _codes(output: VQVAEOutput) -> Numbers:
    """The quantisation loss, and the use of the codes at every scale."""
    numbers: Numbers = {"quantization": output.quantization_loss.detach()}
    for scale, (usage, perplexity) in enumerate(zip(output.usage, output.perplexity, strict=True)):
        numbers[f"usage_{scale}"] = usage
        numbers[f"perplexity_{scale}"] = perplexity
    return numbers


def _perceptual_network(model: VQVAE, losses: VQVAELosses) -> LPIPS:
    """LPIPS with its published weights; raises `UserError` for images that it cannot see."""
    config = model.config
    if config.in_channels not in (1, 3) or min(config.image_size) < SMALLEST:
        raise UserError(
            f"the perceptual loss needs images of 1 or 3 channels and at least {SMALLEST} pixels per side, got "
            f"{config.in_channels} x {config.image_size[0]} x {config.image_size[1]}; set perceptual to 0"
        )
    return LPIPS.load(losses.lpips_vgg16, losses.lpips_heads)
