"""Numbers as text: fixed places, significant digits, and quantities with a unit, short enough for a column."""

import math
from collections.abc import Callable, Sequence

CELL_WIDTH = 7

_THOUSANDS = ("", "k", "M", "G", "T", "P", "E", "Z")
_POWERS_OF_1024 = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


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
    if abs(value) < 9999.5:
        return f"{value:.0f}"
    return "".join(_scaled(value, 1000, _THOUSANDS)) if abs(value) < 1e24 else _with_exponent(value)


def flops(value: float) -> str:
    """A number of floating-point operations: `7.4 TFLOP`."""
    text, unit = _scaled(value, 1000, _THOUSANDS)
    return f"{text} {unit}FLOP"


def size(value: float) -> str:
    """A number of bytes: `1.2 GiB`."""
    text, unit = _scaled(value, 1024, _POWERS_OF_1024)
    return f"{text} {unit}B"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number of things: `1 class`, `1,000 classes`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _scaled(value: float, base: int, units: Sequence[str]) -> tuple[str, str]:
    """Three significant digits, and the unit that they count."""
    power = 0
    while abs(value) >= base - 0.5 and power + 1 < len(units):
        value, power = value / base, power + 1
    return (f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"), units[power]


def _with_exponent(value: float) -> str:
    for places in (1, 0):
        mantissa, exponent = f"{value:.{places}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
        if len(text) <= CELL_WIDTH:
            break
    return text
