"""Sets of images on disk whose grey level tells the class, and a judge that knows it: what is right is plain."""

import hashlib

import numpy as np
import torch
from PIL import Image

from var.evaluation.features.extraction import Features
from var.images import save_png
from var.sampling.record import Recipe
from var.sampling.work import Item

NAMES = ("ant", "bee", "cat, felis catus", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
STEP = 20  # grey levels from class to class


class LevelJudge:
    """Class i is the grey level 20 i; features are the pixels."""

    name = "levels"
    digest = hashlib.sha256(b"levels").hexdigest()

    def __init__(self, classes=10, class_names=None):
        self.classes, self.class_names = classes, class_names

    def __call__(self, images):
        pixels = images.float()
        apart = pixels.mean((1, 2, 3))[:, None] - STEP * torch.arange(self.classes) - 4
        return Features(features=pixels.flatten(1), logits=-apart.abs())


def pixels(label, seed, side=4):
    """An image of a class: the same for the same seed."""
    return np.random.default_rng((label, seed)).integers(STEP * label, STEP * label + 9, (side, side), dtype=np.uint8)


def draw(path, label, seed, *, recorded=True, name=None, settings=None, **form):
    """Write the image of a class and a seed, with the record of it or without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels(label, seed))
    if not recorded:
        picture.save(path, **form)
        return
    names = [str(each) for each in range(100)] if name is None else [name] * 100
    recipe = Recipe({"model": "m", "fingerprint": "f", **(settings or {})}, names, {"torch": "2"})
    save_png(picture, path, recipe.text(Item(path.name, seed, label)))


def draw_classes(root, folders, seeds=range(10), **how):
    """A set of class folders: `folders` maps a folder's name to the class that its images show."""
    for folder, label in folders.items():
        for seed in seeds:
            draw(root / folder / f"{seed}.png", label, seed, **how)
    return root


def draw_flat(root, seeds=range(40), **how):
    """A set in one folder, of the classes 0 to 3 in turn."""
    for seed in seeds:
        draw(root / f"{seed}.png", seed % 4, seed, **how)
    return root
