"""The next-scale transformer: predicts the token map of every scale from the coarser ones and a condition."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from var.conditions import ClassEmbedding, Shown
from var.errors import UserError
from var.hub import PretrainedModel
from var.linear import Linear
from var.transformer.blocks import AdaLN, Block, KeysValues, Modulation, modulated_norm
from var.transformer.config import VARConfig
from var.transformer.head import CodeHead
from var.transformer.told import Told, told_by


class Conditioning(NamedTuple):
    """All that the condition contributes to a pass; it does not depend on the tokens."""

    start: Float[Tensor, "batch first width"]  # embedded input of the first scale
    blocks: tuple[Modulation, ...]
    texts: tuple[KeysValues | None, ...]  # of every block; None without cross-attention
    head_scale: Float[Tensor, "batch 1 width"]
    head_shift: Float[Tensor, "batch 1 width"]


class VAR(PretrainedModel, nn.Module):
    """Block-causal transformer over token maps (arXiv 2404.02905, Section 3.3).

    Every position of a scale sees its own scale and all coarser ones; the input of scale k + 1 is the latent
    accumulated over the scales up to k, so that a scale's own tokens are never seen. With `attention="markov"` it sees
    no other keys than those of its own and the last few scales (MVAR, arXiv 2505.12742): the latent tells of the rest,
    AdaLN of the condition. A map that is drawn in several `Passes` is predicted from its own earlier tokens too.
    """

    config_class = VARConfig
    gradient_checkpointing = False
    """Whether training recomputes every block in the backward pass, which saves memory for a third more time."""
    mask: Tensor
    scale_index: Tensor
    told: Tensor

    @torch.inference_mode(False)  # its weights may enter autograd, wherever it is built
    def __init__(self, config: VARConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        scales = config.schedule
        self.scales = scales
        self.passes = config.drawing
        self.class_embedding = ClassEmbedding(config.num_classes, width, config.vector_width, config.sequence_width)
        self.start = nn.Parameter(torch.empty(1, scales.lengths[0], width))
        self.position = nn.Parameter(torch.empty(1, scales.length, width))
        self.scale_embedding = nn.Embedding(len(scales), width)
        self.token_projection = Linear(config.code_width, width)
        places = self.passes.neighbours() if config.told == "neighbours" else self.passes.told()[:, None]
        self.told_embedding = told_by(config, places.shape[1])
        self.shared_adaln = AdaLN(width, 6) if config.shared_adaln else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.head_adaln = AdaLN(width, 2)
        if config.output != "token":
            self.head = CodeHead(config.vocabulary, config.code_width, width, own=config.output == "both")
        else:
            self.head = Linear(width, config.vocabulary)
        self.register_buffer("mask", self.passes.mask(config.coarser), persistent=False)
        self.register_buffer("scale_index", scales.scale_index(), persistent=False)
        if self.told_embedding is not None:
            self.register_buffer("told", places, persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial weights: linear layers with variance 1 / (3 width), residual branches scaled by depth."""
        config = self.config
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _draw(module.weight, (3 * config.width) ** -0.5)
                if module.bias is not None:
                    module.bias.zero_()
        for embedding in (self.class_embedding.weight, self.scale_embedding.weight, self.start, self.position):
            _draw(embedding, config.embedding_std, bound=10.0)
        if isinstance(self.told_embedding, nn.Embedding):
            _draw(self.told_embedding.weight, config.embedding_std, bound=10.0)
        if self.class_embedding.vector is not None:
            self.class_embedding.vector.reset_parameters(config.embedding_std)
        for module in self.modules():
            if isinstance(module, AdaLN):
                _draw(module.linear.weight, config.modulation_std)
                if config.gate_std is not None and module.parts == len(Modulation._fields):
                    # gamma1 and gamma2 come first.
                    module.linear.weight[: 2 * config.width].mul_(config.gate_std / config.modulation_std)
        if isinstance(self.head, CodeHead):
            self.head.reset_parameters()
        else:
            _draw(self.head.weight, 0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            for projection in (block.attention.projection, block.mlp.fc2):
                projection.weight.div_((2 * config.depth) ** 0.5)
            if block.cross is not None:
                block.cross.projection.weight.zero_()

    def conditioning(self, shown: Shown) -> Conditioning:
        """What a condition, or labels, contribute, computed once for any number of scales."""
        condition, text = self.class_embedding(shown), self.class_embedding.text(shown)
        first = self.scales.lengths[0]
        shared = self.shared_adaln(condition) if self.shared_adaln is not None else None
        head_scale, head_shift = self.head_adaln(condition).split(1, dim=1)
        return Conditioning(
            start=condition[:, None] + self.start + self.place(slice(0, first)),
            blocks=tuple(block.modulation(condition, shared) for block in self.blocks),  # pyright: ignore[reportCallIssue]
            texts=tuple(block.keys_values(text) for block in self.blocks),  # pyright: ignore[reportCallIssue]
            head_scale=head_scale,
            head_shift=head_shift,
        )

    def place(self, where: slice) -> Float[Tensor, "1 _new width"]:
        """Position plus scale embedding of a stretch of the sequence."""
        return self.position[:, where] + self.scale_embedding(self.scale_index[where])

    def forward(
        self,
        shown: Shown,
        inputs: Float[Tensor, "batch rest code_width"],
        tokens: Int64[Tensor, "batch all"] | None = None,
        positions: Int64[Tensor, "batch some"] | None = None,
    ) -> Float[Tensor, "batch length_or_some vocabulary"]:
        """Teacher-forced logits of all scales, or of the first ones if `inputs` end there.

        `shown` is a condition, or labels, of which `num_classes` is the null label; `inputs` are
        `Tokenizer.teacher_inputs`, of the scales after the first; `tokens`, those of all scales or of as many, are
        looked at where a map has several passes. Where some `positions` of each image are given, the others are left
        out, of attention too. Raises `UserError` for labels out of range, inputs that do not fill whole scales, and
        tokens that are missing.
        """
        self.class_embedding.check(shown)
        length = self.scales.lengths[0] + inputs.shape[1]
        if length not in {where.stop for where in self.scales.slices()}:
            raise UserError(
                f"inputs must fill whole scales of the sides {self.scales.sides} after the first, got "
                f"{inputs.shape[1]} positions; pass the tokenizer's teacher_inputs"
            )
        conditioning = self.conditioning(shown)
        rest = self.token_projection(inputs) + self.place(slice(self.scales.lengths[0], length))
        x, mask = torch.cat((conditioning.start, rest), dim=1), self.mask[:length, :length]
        if positions is not None:
            x = x.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))
            mask = mask[positions[:, None, :, None], positions[:, None, None]]
        if self.told_embedding is not None:
            x = x + self._told(self.told_embedding.prepared(), tokens, length, positions)
        for block, modulation, text in zip(self.blocks, conditioning.blocks, conditioning.texts, strict=True):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, modulation, text, mask, use_reentrant=False)
            else:
                x = block(x, modulation, text, mask)
        logits = self.head(modulated_norm(x, conditioning.head_scale, conditioning.head_shift))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))  # whatever the precision of the blocks

    def _told(
        self,
        prepared: Told,
        tokens: Int64[Tensor, "batch all"] | None,
        length: int,
        positions: Int64[Tensor, "batch some"] | None = None,
    ) -> Float[Tensor, "batch length_or_some width"]:
        """What every position is told of the tokens drawn before it; nothing in first passes."""
        if tokens is None or tokens.shape[1] < length:
            raise UserError(
                f"a model whose maps are drawn in several passes needs their {length} tokens, got "
                f"{'none' if tokens is None else tokens.shape[1]}; pass tokens=schedule.flatten(token_maps)"
            )
        if positions is None:
            told = self.told[:length]
            return prepared(torch.where(told >= 0, tokens[:, told.clamp_min(0)], -1))
        told = self.told[positions]
        found = tokens.gather(1, told.clamp_min(0).flatten(1)).view_as(told)
        return prepared(torch.where(told >= 0, found, -1))


def _draw(weight: Tensor, deviation: float, bound: float = 2.0) -> None:
    """Fill with a normal distribution that is cut off at `bound` on both sides: its inverse, of uniform draws."""
    if weight.is_meta:  # of a plan, say: drawing nothing took a third of its time
        return
    spread = deviation * math.sqrt(2)
    edge = math.erf(bound / spread)
    weight.uniform_(-edge, edge).erfinv_().mul_(spread).clamp_(-bound, bound)
