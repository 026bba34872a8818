"""A pipeline that costs nothing: its pictures tell label and seed, so that every file can be checked."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from PIL import Image

import var.sampling.drawing
from var.sampling.claims import Claims
from var.sampling.drawing import draw_image_set
from var.sampling.record import Recipe
from var.sampling.seeds import parse_seeds
from var.sampling.work import WorkList

NAMES = ("cat", "dog", "eel")


def picture(label, seed):
    return Image.fromarray(
        np.array([[seed % 256, seed // 256], [0 if label is None else label + 1, 7]], dtype=np.uint8)
    )


def draw(labels, seeds):
    return [picture(label, seed) for label, seed in zip(labels or [None] * len(seeds), seeds, strict=True)]


def draw_together(log, name):
    """A pipeline that leaves a file for every batch, and draws none before two processes have begun one."""

    def draw_watched(labels, seeds):
        (log / f"{name}-{seeds[0]}").touch()
        until = time.monotonic() + 120
        while len({each.name.partition("-")[0] for each in log.iterdir()}) < 2:
            assert time.monotonic() < until, "the other process drew nothing"
            time.sleep(0.01)
        return draw(labels, seeds)

    return draw_watched


def recipe(**settings):
    return Recipe({"model": "squares", "guidance_scale": 1.5, **settings}, NAMES)


def work(seeds):
    return WorkList(parse_seeds([seeds]), {"": lambda seed: seed % 3})


def draw_squares(root, seeds="0-9", draw=draw, batch_size=4, settings=None, **options):
    return draw_image_set(
        work(seeds), draw, recipe(**(settings or {})), root, batch_size=batch_size, **{"progress": False, **options}
    )


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def draw_and_die(root, log):
    """Draw with another process, and be killed while the fourth image of a batch is written."""
    save = var.sampling.drawing.save_png

    def die_in_the_fourth(image, path, metadata):
        if int(path.stem) % 4 == 3:
            path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        save(image, path, metadata)

    var.sampling.drawing.save_png = die_in_the_fourth
    draw_squares(Path(root), "0-19", draw_together(Path(log), "dying"))


def try_to_claim(folder):
    """Print which of four ranges can be claimed, and whether nobody else claims any."""
    with Claims(Path(folder)) as claims:
        for start in (0, 3, 4, 8):
            with claims.hold(start, 4, wait=False) as mine:
                print(int(mine), end="")
        print(int(claims.alone()))
