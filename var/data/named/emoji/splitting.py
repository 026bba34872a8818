"""Which concepts are trained on: decided by a hash of their names, once and for all."""

from collections.abc import Sequence

from var.randomness import keyed_seed

PARTS = ("train", "val", "test")
HELD_OUT = {"val": 0.08, "test": 0.12}
"""Shares of the concepts."""
WITHHELD = {"val": 0.04, "test": 0.06}
"""Shares of the concepts that are trained on, of which one style is withheld, where there are several."""

TRAINED = frozenset(
    {
        *("heads", "families and couples", "hearts", "keycaps", "letters on a tile", "signs on a purple tile"),
        *("clock faces", "discs", "squares", "signs on a blue tile", "arrows", "arrows of players"),
        *("Union Jack flags", "flags of red with a mark"),
    }
)
"""Concepts of many pictures, always trained on: in a test they would weigh as many and say as little as one."""


def concept_part(concept: str) -> str:
    """The part, one of `PARTS`, that a concept is in."""
    return "train" if concept in TRAINED else _drawn("concept", concept, HELD_OUT)


def part_of(concept: str, style: str, styles: Sequence[str]) -> str:
    """The part that a picture of a concept in one of several styles is in.

    A concept that is held out is held out in all styles. Of a tenth of the others, one style is withheld: whole pairs
    of a concept and a style, both known, but not together, which cannot be had by memory.
    """
    part = concept_part(concept)
    if part != "train" or len(styles) == 1:
        return part
    withheld = sorted(styles)[keyed_seed("emoji", "style", concept) % len(styles)]
    return _drawn("withheld", concept, WITHHELD) if style == withheld else "train"


def _drawn(what: str, concept: str, shares: dict[str, float]) -> str:
    """One of the parts in `shares` by chance, else "train"."""
    place = keyed_seed("emoji", what, concept) / 2**63
    for part, share in shares.items():
        if place < share:
            return part
        place -= share
    return "train"
