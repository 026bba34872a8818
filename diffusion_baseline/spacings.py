"""Which of a schedule's T timesteps a walk of fewer steps visits; importing this is cheap."""

from collections.abc import Callable


def trailing(steps: int, num_timesteps: int) -> list[int]:
    """Timesteps t = round(T - i T / steps) - 1, i ascending: any number of steps begins at the noisiest, T - 1."""
    return [round(num_timesteps - i * num_timesteps / steps) - 1 for i in range(steps)]


def leading(steps: int, num_timesteps: int) -> list[int]:
    """Timesteps t = i (T // steps), i descending: they end at 0, and may begin far below T - 1."""
    return [i * (num_timesteps // steps) for i in reversed(range(steps))]


def tapered(steps: int, num_timesteps: int) -> list[int]:
    """Timesteps t = round(T (1 - i / steps)^(1 + min(1 / 2, 12.5 / steps^2))) - 1: few steps are denser near 0.

    Small images, whose noise hides less, come out nearer with it (of 8x8 digits 5 calls of DPM-Solver++), 32x32 ones
    farther away (docs/results/digits.md).
    """
    bend = 1 + min(0.5, 12.5 / steps**2)
    return [max(round(num_timesteps * (1 - i / steps) ** bend), steps - i) - 1 for i in range(steps)]


SPACINGS: dict[str, Callable[[int, int], list[int]]] = {
    "trailing": trailing,
    "tapered": tapered,
    "leading": leading,
}
"""(steps, T) -> the timesteps in the order of the walk, by name."""
