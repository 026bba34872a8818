"""Draw the pictures of the documentation: what the packaged models do, and the floors of the house.

python scripts/draw_docs.py docs/images    # a few seconds on a CPU; scripts/draw_edits.py draws those of edits
"""

import argparse
import colorsys
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var.command_line.frame import CommandParser, file_path, guarded
from var.files import write_text
from var.foreign.regular import read_text

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parents[1]
EMOJI = (("smileys", 12), ("people", 11), ("flags", 8), ("travel", 16))
"""Class and seed of what is shown."""

CALL: dict[str, Any] = {"output_type": "pt", "progress": False}
SIDE = 96  # of a picture, in pixels
ROW = 26  # height of a floor, in units of the drawing


def stages() -> "Tensor":
    """Images of `EMOJI` after each scale, image by image, (images * scales, 3, 32, 32) in [-1, 1]."""
    import torch

    from var import VARPipeline

    pipe = VARPipeline.from_pretrained("next-scale/emoji")
    out = pipe([name for name, _ in EMOJI], seeds=[seed for _, seed in EMOJI], return_intermediates=True, **CALL)
    return torch.stack(list(out.intermediates or ()), 1).flatten(0, 1) * 2 - 1


def token_maps() -> "Tensor":
    """The token maps of the first of `EMOJI`, a colour for each code, and under each the image after it."""
    import torch
    import torch.nn.functional as F

    from var import VARPipeline

    pipe = VARPipeline.from_pretrained("next-scale/emoji")
    out = pipe([EMOJI[0][0]], seeds=[EMOJI[0][1]], return_intermediates=True, **CALL)
    codes = pipe.vqvae.config.vocabulary
    # Neighbouring codes have nothing in common, and nor have their colours: steps of the golden section.
    colours = torch.tensor([colorsys.hsv_to_rgb(code * 0.618034 % 1, 0.65, 0.95) for code in range(codes)])
    maps = [F.interpolate(colours[each].permute(0, 3, 1, 2), size=SIDE) for each in out.tokens]
    images = [F.interpolate(each, size=SIDE) for each in out.intermediates or ()]
    return torch.cat([*maps, *images]) * 2 - 1


def denoising() -> "Tensor":
    """Seven of the states of a diffusion sampler on its way from noise to the same class."""
    import torch

    from diffusion_baseline import DiffusionPipeline

    seen = []
    pipe = DiffusionPipeline.from_pretrained("next-scale/emoji")
    call = {"num_inference_steps": 49, "callback_on_step_end": lambda index, t, x: seen.append(x.clone())}
    pipe(EMOJI[0][0], seeds=[5], **call, **CALL)
    return torch.cat(seen[::8]).clamp(-1, 1)


def attention() -> "Tensor":
    """Who may look at whom, of the tokens of the sides 1 to 4: white is seen, black is not."""
    from var import ScaleSchedule
    from var.scales import block_causal_mask

    return block_causal_mask(ScaleSchedule((1, 2, 3, 4)))[None, None].float() * 2 - 1


def floors(project: str) -> str:
    """The layers that pyproject.toml's contract holds, as SVG; a module imports only from below its own floor."""
    contracts = tomllib.loads(project)["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["name"] == "The floors of var")
    rows = ["scripts", *(each.replace("var.", "").replace(" | ", ",  ") for each in layers if "__main__" not in each)]
    upper, shared = rows.index("recipes"), rows.index("scales") + 1
    size = f'viewBox="0 0 760 {ROW * len(rows) + 8}" font-family="sans-serif" font-size="13"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>']
    for place, text in enumerate(rows):
        colour = "#eeeeee" if place < upper else "#ffe0b2" if place < shared else "#c8e6c9"
        lines += _box(4, place, 1, 530, colour, text)
    lines += _box(548, upper, shared - upper, 208, "#bbdefb", "diffusion_baseline")
    said = {0: "joins both packages", upper + 1: "sees the shared half only", shared: "shared half: knows no model"}
    lines += [_text(558, place, text) for place, text in said.items()]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _box(x: int, place: int, rows: int, width: int, colour: str, text: str) -> list[str]:
    shape = f'<rect x="{x}" y="{4 + place * ROW}" width="{width}" height="{rows * ROW - 3}" rx="3" fill="{colour}"/>'
    return [shape, _text(x + 10, place, text)]


def _text(x: int, place: int, text: str) -> str:
    return f'<text x="{x}" y="{20 + place * ROW}">{text}</text>'


def draw(folder: Path) -> None:
    """Write all of them into the folder."""
    from var.images import image_grid, save_png

    pictures = {"coarse-to-fine": (stages(), 7, 3), "tokens": (token_maps(), 7, 1), "denoising": (denoising(), 7, 3)}
    pictures |= {"attention": (attention(), 1, 10)}
    for name, (images, columns, magnify) in pictures.items():
        grid = image_grid(images, columns, magnify=magnify, padding=6, background=0 if columns == 1 else 1)
        save_png(grid, folder / f"{name}.png")
    write_text(folder / "floors.svg", floors(read_text(ROOT / "pyproject.toml")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw them; returns the exit code: 0, or 2 for a mistake of the user."""
    return guarded("draw_docs.py", lambda: draw(_parser().parse_args(arguments).folder))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="draw_docs.py", description="Draw the pictures of the documentation.")
    parser.add_argument("folder", type=file_path, metavar="FOLDER", help="where the pictures go: docs/images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
