"""Which of a schedule's T timesteps a walk of fewer steps visits; importing this is cheap."""

from collections.abc import Callable


def trailing(steps: int, num_timesteps: int) -> list[int]:
    """Timesteps t = round(T - i T / steps) - 1, i ascending: any number of steps begins at the noisiest, T - 1."""
    return [round(num_timesteps - i * num_timesteps / steps) - 1 for i in range(steps)]


def leading(steps: int, num_timesteps: int) -> list[int]:
    """Timesteps t = i (T // steps), i descending: they end at 0, and may begin far below T - 1."""
    return [i * (num_timesteps // steps) for i in reversed(range(steps))]


def tapered(steps: int, num_timesteps: int) -> list[int]:
    """Timesteps t = round(T (1 - i / steps)^(1 + 2.5 / steps)) - 1: like trailing, but closer to each other near 0.

    Fewer steps are bent more. Small images, whose noise hides less, come out nearer with it (8x8 digits: 6 calls of
    DPM-Solver++ as near as 10 trailing ones), 32x32 ones farther away (docs/results.md).
    """
    bend = 1 + 2.5 / steps
    return [max(round(num_timesteps * (1 - i / steps) ** bend), steps - i) - 1 for i in range(steps)]


SPACINGS: dict[str, Callable[[int, int], list[int]]] = {
    "trailing": trailing,
    "tapered": tapered,
    "leading": leading,
}
"""(steps, T) -> the timesteps in the order of the walk, by name."""
