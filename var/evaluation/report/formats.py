"""How numbers stand in a narrow column: fixed places, significant digits, counts with a unit."""

import math
from collections.abc import Callable

CELL_WIDTH = 7


def fixed(decimals: int) -> Callable[[float], str]:
    """A format with `decimals` places, fewer for large numbers, of at most 7 characters."""

    def show(value: float) -> str:
        for places in range(decimals, -1, -1):
            text = f"{value:.{places}f}"
            if len(text) <= CELL_WIDTH:
                return text
        return _with_exponent(value)

    return show


def significant(value: float) -> str:
    """Three significant digits in at most 7 characters, with an exponent only if they do not fit: 0.412, 9.25, 1480."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return _with_exponent(value)
    return fixed(max(0, 2 - math.floor(math.log10(abs(value)))))(value)


def quantity(value: float) -> str:
    """A count in at most 6 characters: 512, 48.2k, 1.25M."""
    for unit, size in (("", 1), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15), ("E", 1e18)):
        if abs(value) < (9999.5 if unit == "" else 999.5 * size):
            return f"{value:.0f}" if unit == "" else f"{float(f'{value / size:.3g}'):g}{unit}"
    return _with_exponent(value)


def _with_exponent(value: float) -> str:
    for places in (1, 0):
        mantissa, exponent = f"{value:.{places}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
        if len(text) <= CELL_WIDTH:
            break
    return text
