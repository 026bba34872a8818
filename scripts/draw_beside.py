"""Draw what models make beside real images that they never met: real ones, VAR's and diffusion's, asked for the same.

python scripts/draw_beside.py "shapes?combinations=held-out" next-scale/shapes-text next-scale/shapes-text \
    docs/images/words.png                                                                          # seconds
python scripts/draw_beside.py emoji next-scale/emoji next-scale/emoji docs/images/emoji.png        # seconds
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from var.command_line.frame import CommandParser, file_path, guarded

COLUMNS = 18
"""At most, the same number for each class, of the first ones where there are more."""


def draw(source: str, var: str, diffusion: str, path: Path) -> None:
    """Write the sheet to `path`, and print what is asked for; the seed of a column is its number."""
    import torch

    from diffusion_baseline import DiffusionPipeline
    from var import VARPipeline
    from var.data import open_data
    from var.images import image_grid, save_png

    pipes: list[Any] = [VARPipeline.from_pretrained(var), DiffusionPipeline.from_pretrained(diffusion)]
    words = pipes[0].text_encoder is not None
    data: Any = open_data(source, split="test", size=pipes[0].image_shape[1], captions=words)
    shown = range(min(COLUMNS, len(data.classes)))
    each = COLUMNS // len(shown)
    places = [int(place) for label in shown for place in (data.labels == label).nonzero()[:each]]
    texts = [data.captions[place] if words else data.classes[int(data.labels[place])] for place in places]
    asked: dict[str, Any] = {"prompt" if words else "class_labels": texts}
    call: dict[str, Any] = {**asked, "seeds": range(len(places)), "output_type": "pt", "progress": False}
    rows = [data.load_many(torch.tensor(places)), *(pipe(**call).images * 2 - 1 for pipe in pipes)]
    save_png(image_grid(torch.cat(rows), len(places), magnify=2, padding=3, background=1), path)
    print("\n".join(texts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw them; returns the exit code: 0, or 2 for a mistake of the user."""
    return guarded("draw_beside.py", lambda: draw(**vars(_parser().parse_args(arguments))))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="draw_beside.py", description="Draw what models make beside real images that they never met."
    )
    parser.add_argument("source", metavar="DATA", help="whose test split is shown, for example emoji")
    parser.add_argument("var", metavar="VAR", help="folder or id of a VAR pipeline, for example next-scale/emoji")
    parser.add_argument("diffusion", metavar="DIFFUSION", help="the same of a diffusion pipeline")
    parser.add_argument("path", type=file_path, metavar="PNG", help="the sheet")
    return parser


if __name__ == "__main__":
    sys.exit(main())
