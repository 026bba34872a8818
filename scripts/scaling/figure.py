"""The picture of a ladder: loss and error over parameters and over compute, with their laws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling.power_law import PowerLaw
from scaling.rungs import Rung
from var.errors import UserError
from var.files import atomic_file


def draw(rungs: Sequence[Rung], laws: Mapping[str, PowerLaw], path: Path) -> None:
    """Write the four panels as PNG; raises `UserError` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError('plots need matplotlib, which is missing; pip install "next-scale[compare]"') from error
    figure = Figure(figsize=(9, 6.4), dpi=80, layout="constrained")
    panels = figure.subplots(2, 2)
    for row, (measure, place) in enumerate({"loss": 1, "error": 2}.items()):
        by_size, by_compute = panels[row]
        by_size.plot([r.parameters for r in rungs], [getattr(r, measure) for r in rungs], "o", color="#6d4bc3")
        if law := laws.get(f"{measure} over parameters"):
            _line(by_size, law, [r.parameters for r in rungs])
        for rung in rungs:
            x, y = [point[0] for point in rung.curve], [point[place] for point in rung.curve]
            by_compute.plot(x, y, lw=1, label=f"depth {rung.depth}")
        if law := laws.get(f"{measure} over compute"):
            _line(by_compute, law, [p[0] for rung in rungs[1:] for p in rung.curve])
        label = "loss, nats per token" if measure == "loss" else "token error rate"
        for axes in (by_size, by_compute):
            _logarithmic(axes)
        by_size.set(xlabel="parameters in the blocks' matrices", ylabel=f"held-out {label}")
        by_compute.set(xlabel="training FLOPs", ylabel=f"training {label}")
        by_compute.legend(frameon=False, fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _line(axes: Any, law: PowerLaw, x: Sequence[float]) -> None:
    ends = [min(x), max(x)]
    low, high = law.exponent_interval
    words = f"y = {law.coefficient:.3g} x^{law.exponent:.3f}  [{low:.3f}, {high:.3f}]"
    axes.plot(ends, [law(each) for each in ends], "--", color="#444")
    axes.set_title(f"{words}, r = {law.correlation:.3f}", fontsize=9)


def _logarithmic(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

    axes.set(xscale="log", yscale="log")
    axes.grid(which="both", alpha=0.2)
    # Less than a decade: the powers of ten that a logarithmic axis would name are not there.
    axes.yaxis.set(major_locator=MaxNLocator(6), minor_locator=NullLocator(), major_formatter=ScalarFormatter())
