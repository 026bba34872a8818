"""Logits of tokens from what their codes are."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from var.linear import linear

HIDDEN = 256
"""Units that see a code."""


class CodeHead(nn.Module):
    """A linear layer whose weights are computed: those of a token from its code, so that like codes get like logits.

    Few images teach no weight of each token. A code c is seen by itself, by |c|^2 and by `HIDDEN` GELU units of both,
    of which the weights are an affine map: c and |c|^2 alone give the logits of any Gaussian with one variance,
    log N(c; m, s^2) = m.c / s^2 - |c|^2 / 2 s^2 + a constant, and the units other shapes.

    The tokenizer's `codes` are saved with the weights, and are not trained. With `own` weights of each token are added,
    which tell codes apart that lie close to each other.
    """

    codes: Tensor

    def __init__(self, vocabulary: int, code_width: int, width: int, *, own: bool = False) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(vocabulary, width)) if own else None
        self.register_buffer("codes", torch.zeros(vocabulary, code_width))
        self.hidden = nn.Linear(code_width + 1, HIDDEN)
        self.output = nn.Linear(width, code_width + 1 + HIDDEN)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial weights: units that bend at different places, and logits that are nearly alike."""
        self.hidden.weight.normal_(std=self.hidden.in_features**-0.5)
        self.hidden.bias.uniform_(-1, 1)
        self.output.weight.normal_(std=0.02)
        self.output.bias.zero_()
        if self.own is not None:
            self.own.zero_()

    def seen(self) -> Float[Tensor, "vocabulary features"]:
        """What is seen of every code."""
        codes = self.codes / self.codes.std().clamp_min(1e-6)
        known = torch.cat((codes, codes.square().mean(dim=1, keepdim=True) - 1), dim=1)
        return torch.cat((known, F.gelu(self.hidden(known))), dim=1)

    @property
    def weight(self) -> Float[Tensor, "vocabulary width"]:
        """Of the linear layer."""
        return self._weight(self.seen())

    @property
    def bias(self) -> Float[Tensor, " vocabulary"]:
        """Of the linear layer."""
        return self.seen() @ self.output.bias

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of all tokens."""
        seen = self.seen()
        return linear(x, self._weight(seen), seen @ self.output.bias)

    def _weight(self, seen: Float[Tensor, "vocabulary features"]) -> Float[Tensor, "vocabulary width"]:
        weight = seen @ self.output.weight
        return weight if self.own is None else weight + self.own
