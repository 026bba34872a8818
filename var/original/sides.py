"""The sides of the token maps, as a published transformer's file tells them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from var.errors import UserError
from var.scales import ScaleSchedule, Side

PUBLISHED_SIDES = (
    (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),  # 256 px
    (1, 2, 3, 4, 6, 9, 13, 18, 24, 32),  # 512 px
    (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64),  # 1024 px
)
MOST_TRIES = 100_000


def read_sides(tensors: Mapping[str, Tensor], given: Sequence[Side] | None, source: str) -> tuple[Side, ...]:
    """Sides from the scale index of the tokens, else from the mask, else from counts that only one schedule has.

    Tensors without values (on the meta device) are taken for those of a published schedule. `given` sides must agree.
    Raises `UserError` where nothing tells the sides, or where what tells them contradicts itself.
    """
    schedule = ScaleSchedule(tuple(given) if given is not None else _found_sides(tensors, source))
    for name, axis, wanted, what in (
        ("pos_1LC", 1, schedule.length, "positions"),
        ("lvl_embed.weight", 0, len(schedule), "scales"),
        ("pos_start", 1, schedule.lengths[0], "positions of the first scale"),
    ):
        found = tensors[name].shape[axis] if name in tensors and tensors[name].ndim > axis else None
        if found is not None and found != wanted:
            raise UserError(
                f"{source}: the sides {schedule.sides} have {wanted} {what}, but {name} has {found}; "
                "give those that it was trained with"
            )
    _check_buffers(tensors, schedule, source)
    return schedule.sides


def _found_sides(tensors: Mapping[str, Tensor], source: str) -> tuple[int, ...]:
    index, mask = (tensors.get(name) for name in ("lvl_1L", "attn_bias_for_masking"))
    if index is not None and not index.is_meta:
        lengths = _lengths_in_index(index)
        sides = _squares(lengths)
        if not sides:
            raise UserError(
                f"{source}: lvl_1L must count the tokens of square token maps, coarse to fine, "
                f"got {lengths or 'no order'}; give an official file"
            )
        return sides
    if mask is not None and not mask.is_meta:
        sides = _squares(_lengths_in_mask(mask))
        if len(sides) > 1:
            return sides
    return _sides_from_counts(tensors, source)


def _squares(lengths: Sequence[int]) -> tuple[int, ...]:
    """The sides of square maps with so many tokens; none if one of them is no square."""
    sides = tuple(math.isqrt(length) for length in lengths)
    return sides if all(side * side == length for side, length in zip(sides, lengths, strict=True)) else ()


def _lengths_in_index(index: Tensor) -> list[int]:
    """Tokens of every scale, from the index of each token's scale; none if it does not rise from 0 by steps of 1."""
    flat = index.flatten().long()
    if not len(flat) or int(flat[0]) != 0 or not torch.equal(flat.to(index.dtype), index.flatten()):
        return []
    return torch.bincount(flat).tolist() if set(flat.diff().tolist()) <= {0, 1} else []


def _lengths_in_mask(mask: Tensor) -> list[int]:
    """Tokens of every scale, from the additive mask: as many zeros in a row as keys that its query sees."""
    ends = (mask.flatten(0, -2) == 0).sum(dim=-1).unique()
    return ends.diff(prepend=ends.new_zeros(1)).tolist()


def _sides_from_counts(tensors: Mapping[str, Tensor], source: str) -> tuple[int, ...]:
    names = ("pos_1LC", "pos_start", "lvl_embed.weight")
    if all(name in tensors and tensors[name].ndim >= 2 for name in names):
        position, start, scales = (tensors[name] for name in names)
        length, first, count = position.shape[1], start.shape[1], scales.shape[0]
        if position.is_meta:
            for sides in PUBLISHED_SIDES:
                if (ScaleSchedule(sides).length, len(sides)) == (length, count):
                    return sides
        solutions = _schedules(length, first, count)
        if len(solutions) == 1:
            return solutions[0]
    raise UserError(f"{source} must tell the sides of its token maps, but has no lvl_1L; pass sides=(1, 2, ...)")


def _schedules(length: int, first: int, count: int) -> list[tuple[int, ...]]:
    """Up to two schedules of `count` rising square maps with `length` tokens, `first` of them in the first scale."""
    tries = iter(range(MOST_TRIES))

    def rising(sides: tuple[int, ...], rest: int) -> Iterator[tuple[int, ...]]:
        left = count - len(sides)
        if not left:
            if not rest:
                yield sides
            return
        side = sides[-1] + 1
        while sum((side + i) ** 2 for i in range(left)) <= rest and next(tries, None) is not None:
            if left > 1 or side * side == rest:
                yield from rising((*sides, side), rest - side * side)
            side += 1

    side = math.isqrt(first)
    if side * side != first or not 1 <= count <= 100 or length < first:
        return []
    solutions = list(islice(rising((side,), length - first), 2))
    # A search that gave up cannot say that there is one only.
    return solutions if next(tries, None) is not None else []


def _check_buffers(tensors: Mapping[str, Tensor], schedule: ScaleSchedule, source: str) -> None:
    """Raise if a buffer that is about to be dropped says other than what our model derives from the sides."""
    index, wanted = tensors.get("lvl_1L"), schedule.scale_index()[None]
    values = {name: tensor for name, tensor in tensors.items() if not tensor.is_meta}
    faults = [name for name, tensor in values.items() if name.endswith("zero_k_bias") and tensor.any()]
    if index is not None and not index.is_meta and not torch.equal(index.cpu().long(), wanted):
        faults.insert(0, "lvl_1L")
    if faults:
        raise UserError(
            f"{source}: {faults[0]} must be as in all official files of the sides {schedule.sides}, but it is not; "
            "give an unchanged file, or other sides"
        )
