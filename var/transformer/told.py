"""What later passes of a map are told of a token that was drawn in it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


class ToldCodes(nn.Module):
    """A token by its code, projected: tokens of like codes are told alike, which few images teach no embedding.

    The tokenizer's `codes` are saved with the weights, and are not trained.
    """

    codes: Tensor

    def __init__(self, vocabulary: int, code_width: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(vocabulary, code_width))
        self.projection = nn.Linear(code_width, width)

    @property
    def weight(self) -> Float[Tensor, "vocabulary width"]:
        """What is told of every token."""
        return self.projection(self.codes)

    def forward(self, tokens: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        """What is told of these."""
        return F.embedding(tokens, self.weight)
