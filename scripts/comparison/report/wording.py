"""How numbers and settings stand within a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.report.columns import setting
from var.quantities import fixed

LEVEL_RATIO = 1.1
"""Distances, speeds and costs closer than this are called level: retraining with another seed moves them as much."""

NAMES = {"var": "VAR", "diffusion": "diffusion"}
"""The models within a sentence."""

distance = fixed(3)
"""A Frechet distance with three places."""


def in_words(row: Mapping[str, Any]) -> str:
    """A sampler setting: "guided DDIM-50 (g=1.5)"."""
    name, guidance = setting(row).split(" ")
    return f"{'unguided' if row['guidance_scale'] == 1 else 'guided'} {name} ({guidance})"


def times(var: float, diffusion: float) -> str:
    """Which of two times is the shorter, and by what factor."""
    ratio = diffusion / var
    if 1 / LEVEL_RATIO <= ratio <= LEVEL_RATIO:
        return "about the same"
    faster, how_much = ("VAR", ratio) if ratio > 1 else ("diffusion", 1 / ratio)
    return f"{faster} is {factor(how_much)} times as fast"


def factor(value: float) -> str:
    """A ratio with two digits: 2.5, 14."""
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def listed(parts: Sequence[str]) -> str:
    """The parts with commas and an "and"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def in_pixels(side: int | Sequence[int]) -> str:
    """A size as height and width: "4x4"; an int is a square."""
    return f"{side}x{side}" if isinstance(side, int) else "x".join(map(str, side))
