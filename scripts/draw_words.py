"""Draw what models make of captions that they never met: real images, VAR's and diffusion's, a column for each caption.

python scripts/draw_words.py next-scale/shapes-text next-scale/shapes-text docs/images/words.png    # seconds
"""

import sys
from pathlib import Path
from typing import Any

import torch

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline
from var.data import open_data
from var.images import image_grid, save_png

DATA = "shapes?combinations=held-out"
COLUMNS = 12  # one for each class


def draw(var: str, diffusion: str, path: Path) -> None:
    """Write the sheet to `path`, and print its captions; the seed of a column is its number."""
    data: Any = open_data(DATA, split="test", size=32, captions=True)
    places = [int((data.labels == label).nonzero()[0]) for label in range(COLUMNS)]
    captions = [data.captions[place] for place in places]
    call: dict[str, Any] = {"seeds": range(COLUMNS), "output_type": "pt", "progress": False}
    rows = [data.load_many(torch.tensor(places))]
    rows += [
        kind.from_pretrained(name)(prompt=captions, **call).images * 2 - 1
        for kind, name in ((VARPipeline, var), (DiffusionPipeline, diffusion))
    ]
    save_png(image_grid(torch.cat(rows), COLUMNS, magnify=2, padding=3, background=1), path)
    print("\n".join(captions))


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
