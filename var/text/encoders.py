"""What encoders of texts are to those who use them, whoever makes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from var.errors import UserError
from var.names import received

PIECES = 64
"""Of a text that models attend to, at most: what is kept of a data set grows with it."""


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What an encoder makes of n texts, in float32 on the CPU: a vector for each, and a row for each of its pieces.

    Vectors have the length sqrt(width), whatever their encoder, so that a component is of about 1: networks learn from
    such numbers at the rate at which they learn from others.
    """

    vectors: Float[Tensor, "n width"]
    sequence: Float[Tensor, "n length sequence_width"] | None = None  # None unless it is asked for
    mask: Bool[Tensor, "n length"] | None = None  # True where the text has a piece; behind its end rows mean nothing

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The features of one text after another, all sequences as long as the longest."""
        vectors = torch.cat([part.vectors for part in parts])
        rows = [part.sequence for part in parts if part.sequence is not None]
        masks = [part.mask for part in parts if part.mask is not None]
        if not rows:
            return cls(vectors)
        length = max(mask.shape[1] for mask in masks)
        sequence = torch.cat([F.pad(each, (0, 0, 0, length - each.shape[1])) for each in rows])
        return cls(vectors, sequence, torch.cat([F.pad(each, (0, length - each.shape[1])) for each in masks]))

    def attended(self) -> Self:
        """As models attend to them, in training and when they are asked: `PIECES` at most, in 16 bits."""
        if self.sequence is None or self.mask is None:
            return self
        return replace(self, sequence=self.sequence[:, :PIECES].half(), mask=self.mask[:, :PIECES].clone())


class TextEncoder(Protocol):
    """Makes vectors of texts: equal texts give equal vectors, and nothing else has a say in them."""

    @property
    def name(self) -> str:
        """How `open_encoder` opens it again, or whatever its maker calls it."""
        ...

    @property
    def digest(self) -> str:
        """Tells encoders apart whose vectors differ: of weights and of how texts are cut into pieces."""
        ...

    @property
    def width(self) -> int:
        """Of the vectors."""
        ...

    @property
    def sequence_width(self) -> int:
        """Of the rows of the sequence; 0 for an encoder that gives none."""
        ...

    def __call__(self, texts: Sequence[str], *, sequences: bool = False) -> TextFeatures:
        """The features of `texts`; their `sequence` and `mask` too if asked for. `UserError` for what is no text."""
        ...


def checked_encoder(encoder: Any) -> TextEncoder:
    """`encoder`; raises `UserError` unless it has what the protocol asks for."""
    kinds = {"name": str, "digest": str, "width": int, "sequence_width": int}
    missing = [name for name, kind in kinds.items() if not isinstance(getattr(encoder, name, None), kind)]
    if missing or not callable(encoder):
        wrong = ", ".join(missing) or "a call"
        raise UserError(f"a text encoder must have {wrong}, got {received(encoder, 60)}; pass what open_encoder gives")
    return cast(TextEncoder, encoder)


def features_of(texts: Sequence[str], encoder: TextEncoder, *, sequences: bool = False) -> TextFeatures:
    """What `encoder` makes of `texts`, as models attend to it; raises `UserError` unless there is a row for each."""
    found: Any = encoder(texts, sequences=sequences)
    if not isinstance(found, TextFeatures) or len(found.vectors) != len(texts):
        rows = f"{len(found.vectors)} rows" if isinstance(found, TextFeatures) else type(found).__name__
        raise UserError(
            f"a text encoder must give TextFeatures with a row for each of {len(texts)} texts, got {rows} of "
            f"{encoder.name!r}; correct it"
        )
    if sequences and (found.sequence is None or found.mask is None):
        rule = "a text encoder must give a sequence and its mask if asked"
        raise UserError(f"{rule}, got none of {encoder.name!r}; use another")
    return found.attended()
