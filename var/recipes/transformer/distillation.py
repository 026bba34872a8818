"""Fine-tuning after which guidance is not needed: distillation of guided predictions (arXiv 2210.03142, stage 1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.conditions import Condition
from var.data.batches import Batch
from var.recipes.transformer.task import TransformerTask
from var.training.task import Numbers
from var.transformer import VAR


@dataclass(frozen=True, slots=True)
class DistillationTask:
    """Predict, in one pass, what `reference` predicts with guidance; it is where the training starts, and stays so."""

    plain: TransformerTask  # whose model is trained
    reference: VAR
    guidance: tuple[float, ...]  # guidance scale of every scale

    def __post_init__(self) -> None:
        self.reference.eval().requires_grad_(False)

    @property
    def model(self) -> VAR:
        """What is trained."""
        return self.plain.model

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """KL(guided reference || model) in nats per token, on the tokens of images; no condition is dropped."""
        tokens, inputs = self.plain.tokens_and_inputs(batch, generator)
        wanted = self.guided(batch.condition, inputs, tokens).log_softmax(dim=-1)
        found = model(batch.condition, inputs, tokens).float().log_softmax(dim=-1)
        apart = (wanted.exp() * (wanted - found)).sum(dim=-1)
        slices = enumerate(self.model.scales.slices())
        numbers: Numbers = {f"loss_{scale}": apart[:, where].mean().detach() for scale, where in slices}
        return apart.mean(), numbers

    @torch.no_grad()
    def guided(
        self,
        condition: Condition,
        inputs: Float[Tensor, "batch rest code_width"],
        tokens: Int64[Tensor, "batch length"],
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the reference: null + gamma (cond - null), with the gamma of each scale."""
        reference = self.reference.to(inputs.device)
        twice = inputs.repeat(2, 1, 1), tokens.repeat(2, 1)
        shown, null = reference(condition.with_null(), *twice).float().chunk(2)
        lengths = torch.tensor(self.model.scales.lengths, device=inputs.device)
        gamma = torch.tensor(self.guidance, device=inputs.device).repeat_interleave(lengths)
        return torch.lerp(null, shown, gamma[:, None])
