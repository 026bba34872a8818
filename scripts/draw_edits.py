"""Draw what the packaged models make of edits: each row an image, its mask (white is redrawn), and six seeds.

python scripts/draw_edits.py docs/images    # edit-digits.png and edit-emoji.png, half a minute on a CPU
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var.command_line.frame import CommandParser, file_path, guarded

if TYPE_CHECKING:
    from torch import Tensor

    from var import VARPipeline

SEEDS = range(6)
CALL: dict[str, Any] = {"output_type": "pt", "progress": False, "seeds": SEEDS}


@dataclass(frozen=True)
class Row:
    """An image of the test split, by its place, and what is done with it."""

    place: int
    region: tuple[int, int, int, int] | str  # top, left, bottom, right of what is redrawn; or "vary" or "upscale"
    label: int | None = None  # None: the image's own


SHEETS = {
    "digits": (
        Row(13, (0, 4, 8, 8)),
        Row(4, (0, 4, 8, 8)),
        Row(6, (4, 0, 8, 8)),
        Row(0, (0, 1, 8, 7), 8),
        Row(1, (1, 1, 7, 7), 4),
        Row(9, "vary"),
        Row(3, "upscale"),
    ),
    "emoji": (
        Row(72, (0, 16, 32, 32)),
        Row(126, (14, 8, 26, 24)),
        Row(54, (16, 0, 32, 32)),
        Row(90, (8, 10, 20, 22)),
        Row(18, (0, 16, 32, 32)),
        Row(18, "vary"),
        Row(0, "upscale"),
    ),
}


def drawn(pipe: "VARPipeline", image: "Tensor", label: int, region: tuple[int, int, int, int] | str) -> "Tensor":
    """The image, what is shown beside it, and its edits, in [-1, 1]."""
    import torch
    import torch.nn.functional as F

    from var.images import Signed

    shown = torch.ones_like(image)
    if region == "vary":
        edits = pipe.variations(Signed(image), label, keep_scales=3, **CALL)
    elif region == "upscale":
        small = F.interpolate(image, scale_factor=0.5, mode="area")
        shown = F.interpolate(small, size=image.shape[2:])
        edits = pipe.upscale(Signed(small), label, **CALL)
    else:
        top, left, bottom, right = map(int, region)
        mask = torch.zeros(image.shape[2:], dtype=torch.bool)
        mask[top:bottom, left:right] = True
        shown = mask.expand_as(image) * 2.0 - 1
        edits = pipe.edit(Signed(image), mask, label, keep_pixels=True, blend=image.shape[2] // 16, **CALL)
    return torch.cat([image, shown, edits.images * 2 - 1])


def draw(name: str, path: Path) -> None:
    """Write the sheet of the model `name` to `path`."""
    import torch

    from var import VARPipeline
    from var.data import open_data
    from var.images import image_grid, save_png

    pipe = VARPipeline.from_pretrained(f"next-scale/{name}")
    side = pipe.vqvae.config.image_size[0]
    data = open_data(name, split="test", size=side)
    rows = []
    for row in SHEETS[name]:
        label = int(data.labels[row.place]) if row.label is None else row.label
        rows.append(drawn(pipe, data.load(row.place)[None], label, row.region))
    sheet = image_grid(torch.cat(rows), len(SEEDS) + 2, magnify=64 // side, padding=2, background=0.3)
    save_png(sheet, path)
    print(f"{path}: {sheet.width}x{sheet.height}, {path.stat().st_size} bytes")


def _draw_all(folder: Path) -> None:
    for name in SHEETS:
        draw(name, folder / f"edit-{name}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw them; returns the exit code: 0, or 2 for a mistake of the user."""
    return guarded("draw_edits.py", lambda: _draw_all(_parser().parse_args(arguments).folder))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="draw_edits.py", description="Draw what the packaged models make of edits.")
    parser.add_argument("folder", type=file_path, metavar="FOLDER", help="where the pictures go: docs/images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
