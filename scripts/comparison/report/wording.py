"""How numbers and settings stand within a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.families import FAMILIES
from comparison.report.columns import setting
from comparison.report.fairness import LEVEL_RATIO
from var.quantities import fixed, significant

distance = fixed(3)
"""A Frechet distance with three places."""


def word(model: str) -> str:
    """The name of a model within a sentence."""
    return FAMILIES[model].word


def in_words(row: Mapping[str, Any]) -> str:
    """A sampler setting: "guided DDIM-50 (g=1.5)"."""
    name, guidance = setting(row).split(" ")
    return f"{'unguided' if row['guidance_scale'] == 1 else 'guided'} {name} ({guidance})"


def times(seconds: Mapping[str, float]) -> str:
    """Which of two models takes the shorter time, and by what factor."""
    (fast, low), (_, high) = sorted(seconds.items(), key=lambda item: item[1])
    if high <= LEVEL_RATIO * low:
        return "about the same"
    return f"{word(fast)} is {factor(high / low)} times as fast"


def training_time(row: Mapping[str, Any]) -> str | None:
    """The seconds of a training, and of how many processes if of several; None of one that was elsewhere."""
    seconds, processes = row["train_seconds"], row.get("train_processes", 1)
    if seconds is None:
        return None
    return f"{significant(seconds)} s{f' on {processes} processes' if processes > 1 else ''}"


def factor(value: float) -> str:
    """A ratio with two digits: 2.5, 14."""
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def with_and(parts: Sequence[str]) -> str:
    """The parts with commas and an "and"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
