"""Starting from trained weights: what they fix, and which rows of their class embedding other classes take over."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import nn

from var.errors import UserError
from var.text import TextEncoder


def check_fixed(group: str, given: Any, trained: Any, free: Container[str], *, remedy: str = "leave it out") -> None:
    """Raise `UserError` unless the config `given`, a `group` of the settings, agrees with `trained` but for `free`."""
    for name in (field.name for field in fields(trained)):
        mine, fixed = getattr(given, name), getattr(trained, name)
        if name not in free and mine != fixed:
            raise UserError(f"{group}.{name} is fixed by the weights to start from, {fixed}, got {mine}; {remedy}")


def check_encoder(trained: Mapping[str, str] | None, encoder: TextEncoder | None) -> None:
    """Raise `UserError` unless `encoder` is the one that weights were `trained` with, as a pipeline's settings name it.

    Weights that know of none may learn of texts by any.
    """
    if trained and (encoder is None or encoder.digest != trained["digest"]):
        found = "none" if encoder is None else f"{encoder.name!r} of {encoder.digest}"
        raise UserError(
            f"data.text is fixed by the weights to start from, {trained['name']!r} of digest {trained['digest']}, got "
            f"{found}; set it so"
        )


def take_over(
    model: nn.Module, trained: nn.Module, embedding: str, before: Sequence[str] | None, after: Sequence[str]
) -> str:
    """Give `model` the weights of `trained`, whose tensor `embedding` has a row for each class and the null label.

    `before` and `after` are the names of their classes; see `kept_rows`. Returns what became of the classes, in words.
    """
    state = trained.state_dict()
    rows, words = kept_rows(before, after, len(state[embedding]) - 1)
    model.load_state_dict({**state, embedding: state[embedding][rows]})
    return words


def kept_rows(before: Sequence[str] | None, after: Sequence[str], old: int) -> tuple[list[int], str]:
    """For each of the classes `after` and for the null label, the row to start from; and what that means, in words.

    A class keeps its row if a class of that name was there `before`; without names, all rows are kept if the number of
    classes, `old`, agrees. Every other class begins as the null label, whose row (`old`) is always kept: the model then
    does for it what it does without a class.
    """
    if before is None:
        rows = list(range(old)) if len(after) == old else [old] * len(after)
    else:
        places = {name: row for row, name in enumerate(before)}
        rows = [places.get(name, old) for name in after]
    if rows == list(range(old)):
        return [*rows, old], f"the class embedding is kept: {old} classes"
    known = sum(row != old for row in rows)
    return [*rows, old], (
        f"the class embedding is replaced: {old} classes before, {len(after)} now, {known} of them known by name; "
        "the others begin as the null label, which is kept"
    )
