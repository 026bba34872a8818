"""Training of the tokenizer: reconstruction, quantisation, and what a perceptual network and a discriminator say."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from var.data.batches import Batch
from var.recipes.vqvae.alignment import FeatureAlignment
from var.recipes.vqvae.codebook_health import CodebookWatch
from var.recipes.vqvae.dino import dino_backbone
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.reconstruction import ReconstructionTask
from var.training.task import Numbers
from var.vqvae import VQVAE, VQVAEOutput


class VQVAETask(ReconstructionTask):
    """Reconstruct images through the multi-scale codes; networks and errors as for `ReconstructionTask`."""

    model: VQVAE
    losses: VQVAELosses

    def __init__(self, model: VQVAE, losses: VQVAELosses | None = None, *, seed: int = 0) -> None:
        config, losses = model.config, losses or VQVAELosses()
        super().__init__(model, losses, (config.in_channels, *config.image_size), seed=seed)
        self._alignment: FeatureAlignment | None = None
        if losses.alignment:
            backbone = dino_backbone(losses.dino_weights)
            self._alignment = FeatureAlignment(backbone, channels=config.in_channels, margin=losses.alignment_margin)
        self._watch = CodebookWatch(config)

    @property
    def find_unused_parameters(self) -> bool:
        """Whether steps leave the quantiser without gradient: all of it at first, or a phi that serves no scale."""
        quantizer = self.model.quantizer
        return self.losses.quantize_from > 0 or len(set(quantizer.phi_index)) < len(quantizer.phi)

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
        loss, numbers = self.judged(output.reconstruction, batch, self.model.decoder.conv_out.weight, generator)
        loss = loss + output.quantization_loss
        if quantize:
            numbers |= _codes(output)
        if output.entropies is not None:
            of_choice, of_codes = output.entropies
            loss = loss + losses.entropy * (of_choice - losses.entropy_diversity * of_codes)
            numbers |= {"choice_entropy": of_choice.detach(), "code_entropy": of_codes.detach()}
        if self._alignment:
            misalignment = self._alignment.to(batch.images.device)(output.latent, batch.images)
            loss = loss + losses.alignment * misalignment
            numbers["alignment"] = misalignment.detach()
        return loss, numbers

    def warnings(self, step: int, numbers: Mapping[str, float]) -> list[str]:
        """Alarms, in sentences, about codes that fall out of use."""
        return self._watch.alarms(step - self.losses.quantize_from, numbers) if "usage_0" in numbers else []


def _codes(output: VQVAEOutput) -> Numbers:
    """The quantisation loss, and the use of the codes at every scale."""
    numbers: Numbers = {"quantization": output.quantization_loss.detach()}
    for scale, (usage, perplexity) in enumerate(zip(output.usage, output.perplexity, strict=True)):
        numbers[f"usage_{scale}"] = usage
        numbers[f"perplexity_{scale}"] = perplexity
    return numbers
