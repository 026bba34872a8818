"""The pictures of a report, from plain data: samples, strips, reconstructions, code usage and losses, as SVG text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from var.errors import UserError
from var.evaluation.report.drawing import LIGHT, chart, image_table, plain_log_ticks, svg
from var.evaluation.report.html import Html
from var.evaluation.report.scrubbing import swipe
from var.images import image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MOST_ROWS = 20


def in_pixels(side: int | Sequence[int]) -> str:
    """A size as height and width: "4x4"; an int is a square."""
    return f"{side}x{side}" if isinstance(side, int) else "x".join(map(str, side))


def class_grid(
    images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], classes: Sequence[str], *, columns: int
) -> str:
    """The first `columns` images of each class as one labelled row per class; images in [-1, 1].

    Classes of which there is none have no row, and of many the first 20 have one.
    """
    rows: dict[str, Tensor] = {}
    for index in labels.unique().tolist()[:MOST_ROWS]:
        name = str(classes[index])
        chosen = images[labels == index][:columns]
        if len(chosen) < columns:
            raise UserError(
                f"a grid of {columns} columns needs as many images of class {name!r}, got {len(chosen)}; take fewer"
            )
        rows[name] = chosen
    return image_table(torch.cat(list(rows.values())), columns, row_labels=list(rows))


def stage_strip(stages: Sequence[Float[Tensor, "n c h w"]], labels: Sequence[str]) -> str:
    """How samples come about: one labelled column per stage, one row per sample; images in [-1, 1]."""
    if not stages or len(labels) != len(stages):
        raise UserError(
            f"a strip needs a label for each of its stages, got {len(labels)} for {len(stages)}; match them"
        )
    images = torch.stack(list(stages), dim=1).flatten(0, 1)
    return image_table(images, len(stages), column_labels=labels, magnify=8)


def reconstruction_pairs(originals: Float[Tensor, "n c h w"], reconstructions: Float[Tensor, "n c h w"]) -> str:
    """Originals above their reconstructions; images in [-1, 1]."""
    images = torch.cat([originals, reconstructions])
    return image_table(images, len(originals), row_labels=("original", "decoded"), magnify=5)


def reconstruction_swipe(originals: Float[Tensor, "n c h w"], reconstructions: Float[Tensor, "n c h w"]) -> Html:
    """Reconstructions over their originals, under a slider that uncovers them; images in [-1, 1]."""
    left, right = (image_grid(each, 8, padding=0).convert("RGB") for each in (originals, reconstructions))
    return swipe(left, right, titles=("original", "decoded"), label="Share of the originals that is shown")


def loss_curve(history: Sequence[Mapping[str, float]], *, color: str = "violet") -> str:
    """The values of "loss" over "step" in a training history, in a colour of the palette, named by `color`."""
    points = [(row["step"], row["loss"]) for row in history if "loss" in row]
    if not points:
        raise UserError(f"a loss curve needs rows with 'step' and 'loss', got {len(history)} rows without; log it")
    steps, values = zip(*points, strict=True)
    figure, (axes,) = chart(300, 200)
    axes.plot(steps, values, color=LIGHT[color], linewidth=1.8, solid_capstyle="round")
    axes.plot(steps[-1:], values[-1:], "o", color=LIGHT[color], markersize=5, clip_on=False)
    if min(values) > 0 and max(values) > 8 * min(values):
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    _beside(axes, f"{values[-1]:.3g}", (steps[-1], values[-1]), 7, fontweight="bold")
    axes.margins(y=0.1)
    axes.set_xlim(0, steps[-1])
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("training step")
    return svg(figure)


def code_usage_chart(sides: Sequence[int | Sequence[int]], usage: Sequence[float], perplexity: Sequence[float]) -> str:
    """Two bars per scale: the share of the codebook in use (`usage`, in [0, 1]) and its perplexity, coarse to fine."""
    names = [in_pixels(side) for side in sides]
    figure, (left, right) = chart(620, 64 + 30 * len(names), panels=2)
    for axes, values, title, limit in (
        (left, [100 * share for share in usage], "codes in use, % of the vocabulary", 118),
        (right, list(perplexity), "perplexity, codes", 1.18 * max(perplexity)),
    ):
        # By place: several scales may be of one size.
        axes.barh(range(len(names)), values, height=0.62, color=LIGHT["blue"])
        for place, value in enumerate(values):
            text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
            _beside(axes, text, (value, place), 6)
        axes.set_xlim(0, limit)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.set_title(title, loc="left", fontsize=12, color=LIGHT["muted"])
    left.set_yticks(range(len(names)), names)
    left.set_ylabel("scale")
    right.set_yticks([])
    return svg(figure)


def _beside(axes: "Axes", text: str, point: tuple[float, float], distance: float, **style: Any) -> None:
    """A number to the right of its mark."""
    axes.annotate(text, point, (distance, 0), textcoords="offset points", va="center", color=LIGHT["ink"], **style)
