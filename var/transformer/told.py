"""What later passes of a map are told of the tokens that were drawn in it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.linear import linear
from var.transformer.config import VARConfig


class Told(NamedTuple):
    """What is told of tokens: a row of each by its index, and a last one, of zeros, where no token is known.

    With a `weight` the rows of all places that are told of are put side by side, and multiplied by it.
    """

    rows: Float[Tensor, "tokens_and_none features"]
    weight: Float[Tensor, "width places_features"] | None = None

    def __call__(self, tokens: Int64[Tensor, "batch length places"]) -> Float[Tensor, "batch length width"]:
        """What every position is told of the tokens at its places; -1 stands for one that is not known."""
        told = F.embedding(tokens.remainder(len(self.rows)), self.rows).flatten(2)  # -1 is the last row
        return told if self.weight is None else linear(told, self.weight)

    def detached(self) -> "Told":
        """In float32, apart from the weights."""
        weight = None if self.weight is None else self.weight.detach().float()
        return Told(self.rows.detach().float(), weight)


class ToldTokens(nn.Embedding):
    """One token, by an embedding of its own."""

    def prepared(self) -> Told:
        """With the weights as they are now."""
        return Told(_and_none(self.weight))


class ToldCodes(nn.Module):
    """One token by its code, projected: tokens of like codes are told alike, which few images teach no embedding.

    The tokenizer's `codes` are saved with the weights, and are not trained.
    """

    codes: Tensor

    def __init__(self, vocabulary: int, code_width: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(vocabulary, code_width))
        self.projection = nn.Linear(code_width, width)

    def prepared(self) -> Told:
        """With the weights as they are now."""
        return Told(_and_none(self.projection(self.codes)))


class ToldNeighbours(nn.Module):
    """All tokens around a position that are drawn, by their codes and by where they lie: a masked convolution.

    Attention to positions learns slowly what lies beside what; here it is the same all over a map, as in PixelCNN
    (arXiv 1606.05328). The tokenizer's `codes` are saved with the weights, and are not trained; so many `features` of
    each token are, which tell codes apart that lie close to each other.
    """

    codes: Tensor

    def __init__(self, vocabulary: int, code_width: int, width: int, places: int, features: int = 0) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(vocabulary, code_width))
        self.features = nn.Parameter(torch.empty(vocabulary, features).normal_(std=0.5)) if features else None
        self.projection = nn.Linear(places * (code_width + 1 + features), width, bias=False)

    def prepared(self) -> Told:
        """With the weights as they are now; a code is told in units of the spread of all, and with a 1: it is known."""
        codes = self.codes / self.codes.std().clamp_min(1e-6)
        told = F.pad(codes, (0, 1), value=1.0)
        told = told if self.features is None else torch.cat((told, self.features), dim=1)
        return Told(_and_none(told), self.projection.weight)


def told_by(config: VARConfig, places: int) -> ToldTokens | ToldCodes | ToldNeighbours | None:
    """What tells later passes of the tokens at some places; None where no map has any."""
    if config.drawing.single:
        return None
    if config.told == "token":
        return ToldTokens(config.vocabulary, config.width)
    if config.told == "code":
        return ToldCodes(config.vocabulary, config.code_width, config.width)
    return ToldNeighbours(config.vocabulary, config.code_width, config.width, places, config.told_features)


def _and_none(rows: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens_and_none features"]:
    return F.pad(rows, (0, 0, 0, 1))
