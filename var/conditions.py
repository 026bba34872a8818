"""What an image is asked to show, the same for both paradigms: a class, a vector, a text; and guidance towards it."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Self, TypeGuard

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from var.errors import UserError
from var.names import received

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of labels."""

KEYS = 16
"""Cross-attention has a multiple of so many keys: a CPU takes 4 times as long for 13 of them as for 16."""


@dataclass(frozen=True)
class Condition:
    """What each image of a batch is asked to show: a class, a vector, a sequence; nothing where it is not `given`.

    Another kind is a subclass with more fields, tensors with the batch first, and an embedding that reads them.
    """

    labels: Int[Tensor, " batch"] | None  # None where no image has a class
    given: Bool[Tensor, " batch"]
    vectors: Float[Tensor, "batch vector_width"] | None = field(default=None, kw_only=True)  # None where none has one
    # Features of the parts of a text, such as an encoder's last layer; True where they are no padding (None: all).
    sequence: Float[Tensor, "batch length sequence_width"] | None = field(default=None, kw_only=True)
    sequence_mask: Bool[Tensor, "batch length"] | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, labels: Int[Tensor, " batch"]) -> Self:
        """The condition of class labels, all given."""
        return cls(labels, torch.ones_like(labels, dtype=torch.bool))

    @classmethod
    def nothing(cls, count: int, vector_width: int = 0, sequence_width: int = 0) -> Self:
        """`count` rows that ask for nothing, as models that take vectors and sequences of these widths are told it."""
        vectors = torch.zeros(count, vector_width) if vector_width else None
        sequence = torch.zeros(count, 0, sequence_width) if sequence_width else None
        return cls(None, torch.zeros(count, dtype=torch.bool), vectors=vectors, sequence=sequence)

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: slice) -> Self:
        """Some of the rows."""
        return self.each(lambda part: part[rows])

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """With every tensor changed."""
        parts: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(self, **{name: change(part) for name, part in parts.items() if part is not None})

    def classes(self, null: int) -> Int[Tensor, " batch"]:
        """The labels; `null` where no image has a class."""
        return torch.full_like(self.given, null, dtype=torch.long) if self.labels is None else self.labels

    def checked(self) -> Self:
        """As it is, but for whole labels of other types and devices.

        Raises `UserError` where `given` is no tensor of bools, `labels` are none of as many whole numbers, or a mask
        has no sequence. Vectors and sequences are looked at by whoever knows their widths.
        """
        _check_rows("given", self.given, (torch.bool,), None)
        if self.sequence_mask is not None and self.sequence is None:
            raise UserError("a condition's sequence_mask is that of its sequence, got none; pass both or neither")
        if self.labels is None:
            return self
        _check_rows("labels", self.labels, WHOLE, len(self.given))
        labels = self.labels.to(self.given.device, torch.int64)
        return self if labels is self.labels else replace(self, labels=labels)

    def to(self, device: torch.device | str) -> Self:
        """The condition on `device`."""
        # From pinned memory the copy runs beside the computation; from other memory the option changes nothing.
        return self.each(lambda part: part.to(device, non_blocking=part.is_pinned()))

    def null(self) -> Self:
        """As many rows that ask for nothing."""
        return replace(self, given=torch.zeros_like(self.given))

    def dropped(self, share: float, generator: torch.Generator) -> Self:
        """With each row asking for nothing with the probability `share`, which classifier-free guidance needs."""
        drawn = torch.rand(self.given.shape, generator=generator, device=self.given.device)
        return replace(self, given=self.given & (drawn >= share))

    def with_null(self) -> Self:
        """The rows, and after them as many that ask for nothing: what `guided` mixes."""
        twice = self.each(lambda part: part.repeat(2, *[1] * (part.ndim - 1)))
        twice.given[len(self) :] = False
        return twice


def is_dense(value: Any) -> TypeGuard[Tensor]:
    """Whether it is a tensor with values, each in a place of its own."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided:
        return False
    return not (value.is_meta or value.is_nested or value.is_quantized)


def _check_rows(name: str, rows: Any, kinds: tuple[torch.dtype, ...], count: int | None) -> None:
    if is_dense(rows) and rows.dtype in kinds and rows.ndim == 1 and count in (None, len(rows)):
        return
    found = f"{rows.dtype} {tuple(rows.shape)}" if is_dense(rows) else f"{type(rows).__name__} {received(rows)}"
    wanted = f"{str(kinds[-1]).removeprefix('torch.')} ({'batch' if count is None else count},)"
    raise UserError(f"a condition's {name} must be a tensor of {wanted}, got {found}; convert it")


Shown = Condition | Int[Tensor, " batch"]
"""A condition, or class labels, of which the number of classes is the null label."""


def condition_of(shown: Shown) -> Condition:
    """Class labels as the condition that they are."""
    return Condition.of(shown) if isinstance(shown, Tensor) else shown


class VectorEmbedding(nn.Module):
    """Linear in a vector (VAR-CLIP, arXiv 2408.01181); in a learned one where images are asked to show nothing."""

    def __init__(self, vector_width: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(vector_width, width)
        self.null = nn.Parameter(torch.zeros(vector_width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the initial weights: what is told of vectors with components of about 1 spreads as classes do."""
        self.linear.weight.normal_(std=std / self.linear.in_features**0.5)
        self.linear.bias.zero_()
        self.null.zero_()

    def forward(
        self, vectors: Float[Tensor, "batch vector_width"], given: Bool[Tensor, " batch"]
    ) -> Float[Tensor, "batch width"]:
        """What the network is told of them; all weights get a gradient, whatever is `given`."""
        return self.linear(torch.where(given[:, None], vectors.to(self.null.dtype), self.null))


class Text(NamedTuple):
    """What cross-attention looks at: features, and True where they may be seen."""

    features: Float[Tensor, "batch keys sequence_width"]
    mask: Bool[Tensor, "batch 1 1 keys"]


class SequenceEmbedding(nn.Module):
    """The normalised features of a sequence behind a learned one, which stands alone where nothing is to be shown.

    It is always there: no softmax is over nothing, and all weights get a gradient, whatever is given.
    """

    def __init__(self, sequence_width: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.randn(sequence_width))  # as spread as those that are normalised

    def forward(
        self,
        sequence: Float[Tensor, "batch length sequence_width"],
        mask: Bool[Tensor, "batch length"] | None,
        given: Bool[Tensor, " batch"],
    ) -> Text:
        """What a network sees of them, padded to a multiple of `KEYS`."""
        seen = given[:, None].expand(sequence.shape[:2])
        if mask is not None:
            seen = seen & mask
        short = -(1 + seen.shape[1]) % KEYS
        features = F.layer_norm(sequence.to(self.null.dtype), self.null.shape)
        features = torch.cat((self.null.expand(len(features), 1, -1), F.pad(features, (0, 0, 0, short))), dim=1)
        return Text(features, F.pad(F.pad(seen, (1, 0), value=True), (0, short))[:, None, None])


class ClassEmbedding(nn.Embedding):
    """A vector for every class, and a last one for images that have no class or are asked to show nothing.

    With a `vector_width` it also takes vectors, and gives the sum of both embeddings; with a `sequence_width`,
    sequences, which it gives as `text`.
    """

    def __init__(self, num_classes: int, width: int, vector_width: int = 0, sequence_width: int = 0) -> None:
        super().__init__(num_classes + 1, width)
        self.num_classes, self.widths = num_classes, {"vectors": vector_width, "a sequence": sequence_width}
        self.vector = VectorEmbedding(vector_width, width) if vector_width else None
        self.sequence = SequenceEmbedding(sequence_width) if sequence_width else None

    def forward(self, shown: Shown) -> Float[Tensor, "batch width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the network is told; raises `UserError` for vectors where it takes none, and the other way round."""
        condition = condition_of(shown)
        self._check_widths(condition)
        labels = condition.classes(self.num_classes).masked_fill(~condition.given, self.num_classes)
        embedded = super().forward(labels)
        if self.vector is None or condition.vectors is None:
            return embedded
        return embedded + self.vector(condition.vectors, condition.given)

    def text(self, shown: Shown) -> Text | None:
        """What the network's cross-attention looks at, of a condition that `forward` takes; None where it has none."""
        condition = condition_of(shown)
        if self.sequence is None or condition.sequence is None:
            return None
        return self.sequence(condition.sequence, condition.sequence_mask, condition.given)

    def _check_widths(self, condition: Condition) -> None:
        parts = condition.vectors, condition.sequence
        for (name, width), part in zip(self.widths.items(), parts, strict=True):
            found = 0 if part is None else part.shape[-1]
            if found != width:
                raise UserError(
                    f"a condition must have {name} of the width that the model takes, {width or 'none'}, got "
                    f"{found or 'none'}; give what the model was made for"
                )

    def check(self, shown: Shown) -> None:
        """Raise `UserError` unless all labels lie in [0, num_classes]; waits for the device, unless that is meta.

        Compiled code is not made to wait, and does not look.
        """
        labels, last = condition_of(shown).classes(self.num_classes), self.num_classes
        if not labels.numel() or labels.is_meta or torch.compiler.is_compiling():
            return
        if int(labels.min()) < 0 or int(labels.max()) > last:
            raise UserError(
                f"labels must lie in [0, {last}] ({last} is the null label), "
                f"got {int(labels.min())} to {int(labels.max())}; correct them"
            )


def guided(predicted: Float[Tensor, "twice_batch *rest"], scale: float) -> Float[Tensor, "batch *rest"]:
    """Null + scale (cond - null) of what a network predicts for `Condition.with_null`: 1 means off."""
    cond, null = predicted.chunk(2)
    return torch.lerp(null, cond, scale)
