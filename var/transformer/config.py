"""Configuration of the next-scale transformer."""

from dataclasses import dataclass
from typing import Literal

from var import checks
from var.configs import added
from var.errors import UserError
from var.scales import ScaleSchedule, Side, check_scales, schedule_of
from var.tokenizer import TokenizerConfig
from var.transformer.passes import Passes, diagonals


@dataclass(frozen=True, slots=True, kw_only=True)
class VARConfig:
    """Architecture of a VAR transformer; the defaults are those of the published d16 (arXiv 2404.02905)."""

    sides: tuple[Side, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)  # of the token maps, coarse to fine
    vocabulary: int = 4096  # codes of the tokenizer
    code_width: int = 32  # width of the tokenizer's latent
    num_classes: int = 1000  # labels are below it; it is itself the null label; 0 where there are only vectors or texts
    depth: int = 16  # blocks
    width: int = 1024  # of the residual stream
    heads: int = 16  # of the attention
    mlp_ratio: float = 4.0  # hidden width of the MLP over width
    activation: Literal["gelu_tanh", "gelu"] = "gelu_tanh"  # of the MLP; the exact one is 5 times faster on a CPU
    l2_attention: bool = True  # normalise q and k, with a learned scale per head
    shared_adaln: bool = False  # one modulation for all blocks plus an offset for each
    dropout: float = 0.0  # after the attention and in the MLP
    drop_path: float = 0.0  # of the last block, rising linearly from 0
    embedding_std: float = 0.3  # initial spread of the position, scale and class embeddings
    modulation_std: float = 0.02  # initial spread of the AdaLN weights
    gate_std: float | None = None  # of those that make the blocks' gates; None is modulation_std
    vector_width: int = added(0)  # of the vectors that images are asked to show, beside their class; 0: none
    repeats: tuple[int, ...] = added((), of="sides")  # maps of each side, see `ScaleSchedule`
    sequence_width: int = added(0)  # of the features of texts that every block attends to; 0: no cross-attention
    attention: Literal["causal", "markov"] = added("causal")  # to all coarser maps, or to the last `window` of them
    window: int = added(1)  # coarser maps that a map attends to beside itself where attention is "markov"
    passes: tuple[int, ...] = added((), of="sides")  # in which each token map is drawn, see `Passes`; empty: one
    order: Literal["even", "raster", "diagonal"] = added("even", of="sides")  # in maps of several passes, see `Passes`
    told: Literal["token", "code", "neighbours"] = added("token", of="sides")  # to later passes of a map, see `told_by`
    told_features: int = added(0, of="sides")  # learnt numbers of each token that neighbours are told beside its code
    output: Literal["token", "code", "both"] = added("token")  # of a token's logit: its own, of its code, both

    def __post_init__(self) -> None:
        checks.fields(self)
        object.__setattr__(self, "sides", ScaleSchedule(self.sides, self.repeats).sides)
        checks.at_least(1, self, "vocabulary", "code_width", "depth", "width", "heads")
        checks.at_least(0, self, "vector_width", "sequence_width", "window", "told_features")
        checks.at_least(0 if self.vector_width or self.sequence_width else 1, self, "num_classes")
        checks.at_most(2**24, self, "vocabulary", "num_classes")
        checks.at_most(2**17, self, "code_width", "width", "heads", "vector_width", "sequence_width", "told_features")
        checks.at_most(2**10, self, "window", "depth", "mlp_ratio", "embedding_std", "modulation_std", "gate_std")
        checks.positive(self, "mlp_ratio")
        checks.not_negative(
            self, "embedding_std", "modulation_std", *(["gate_std"] if self.gate_std is not None else [])
        )
        if self.width * self.mlp_ratio < 1:
            raise UserError(f"mlp_ratio must leave the MLP a width, got {self.mlp_ratio} of {self.width}; raise it")
        if self.attention == "causal" and self.window != 1:
            raise UserError(f'a window is of attention="markov", got {self.window} and "causal"; change one of them')
        check_scales(self.schedule)
        self._check_passes()
        if self.width % self.heads:
            raise UserError(f"width must be divisible by heads, got {self.width} and {self.heads}; change one of them")
        checks.probability(self, "dropout", "drop_path", below_1=True)

    def _check_passes(self) -> None:
        lengths = self.schedule.lengths
        found = self.passes or (1,) * len(lengths)
        if len(found) != len(lengths) or not all(1 <= each <= most for each, most in zip(found, lengths, strict=True)):
            raise UserError(
                f"passes must be a number for each of the {len(lengths)} token maps, from 1 to the tokens of the map "
                f"({', '.join(map(str, lengths))}), got {self.passes}; leave it empty for one each"
            )
        if (self.order, self.told) != ("even", "token") and set(found) == {1}:
            raise UserError(
                f"order and told are of several passes, got {self.order!r}, {self.told!r} and one each; set passes too"
            )
        if self.told_features and self.told != "neighbours":
            raise UserError(
                f"told_features are told of neighbours, got {self.told_features} and told={self.told!r}; set told too"
            )
        if self.order == "diagonal":
            self._check_diagonals(found)

    def _check_diagonals(self, found: tuple[int, ...]) -> None:
        wanted = [diagonals(*shape) for shape in self.schedule.shapes]
        if not all(each in (1, most) for each, most in zip(found, wanted, strict=True)):
            raise UserError(
                f'in the order "diagonal" a map has 1 pass or as many as diagonals ({", ".join(map(str, wanted))}), '
                f"got {self.passes}; correct passes"
            )
        if self.told != "neighbours":
            raise UserError(
                f'the order "diagonal" is of maps that are told neighbours, got told={self.told!r}; set told too'
            )

    @property
    def schedule(self) -> ScaleSchedule:
        """The scales of the token maps."""
        return schedule_of(self.sides, tuple(self.repeats))

    @property
    def drawing(self) -> Passes:
        """The passes of the token maps."""
        return Passes(self.schedule, self.passes, self.order)

    @property
    def coarser(self) -> int | None:
        """How many coarser maps a map attends to; None is all."""
        return self.window if self.attention == "markov" else None

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


def check_pair(mine: TokenizerConfig, theirs: VARConfig) -> None:
    """Raise `UserError` for a tokenizer and a transformer that were not made for each other."""
    for name, left, right in (
        ("sides", mine.sides, theirs.sides),
        ("repeats", mine.schedule.repeats, theirs.schedule.repeats),
        ("vocabulary", mine.vocabulary, theirs.vocabulary),
        ("code width", mine.width, theirs.code_width),
    ):
        if left != right:
            raise UserError(
                f"tokenizer and transformer must have the same {name}, got {left} and {right}; "
                "load the pair that was trained together"
            )
