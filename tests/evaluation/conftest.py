"""The reference numbers that several libraries agree on, and a judge that needs no training."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from levelled_sets import LevelJudge, draw_flat

from var.evaluation.features.extraction import Features
from var.evaluation.sets.reference_statistics import build_statistics


@pytest.fixture
def cases(shared_cases):
    return json.loads((shared_cases / "eval" / "cases.json").read_text())


@pytest.fixture
def arrays(shared_cases):
    """`arrays(case)`: the arrays of an npz file of the reference cases, by its name."""

    def load(file: str) -> dict[str, np.ndarray]:
        with np.load(shared_cases / "eval" / file) as archive:
            return dict(archive)

    return load


@pytest.fixture(scope="session")
def real_images(tmp_path_factory):
    """A folder of flat real images and their statistics, as `LevelJudge` sees them; no test may change it."""
    folder = tmp_path_factory.mktemp("reference")
    real = draw_flat(folder / "real", range(1000, 1060), recorded=False)
    build_statistics(real, LevelJudge(), channels=1, progress=False).save(folder / "real.npz")
    return folder


@pytest.fixture
def reference(real_images, tmp_path):
    """The statistics again, beside the images, for a test of its own."""
    return shutil.copytree(real_images, tmp_path, dirs_exist_ok=True) / "real.npz"


class PixelExtractor:
    """Features are pixels of [0, 1]; logits say that the brightest channel is the class."""

    name = "pixels"
    digest = "0" * 64

    def __init__(self, logits: bool = True):
        self.logits = logits

    def __call__(self, images):
        values = images.float() / 255
        return Features(features=values.flatten(1), logits=20 * values.mean((2, 3)) if self.logits else None)


@pytest.fixture(scope="session")
def extractor():
    return PixelExtractor()


@pytest.fixture
def featureless():
    """An extractor without logits."""
    return PixelExtractor(logits=False)


@pytest.fixture
def own_order():
    """An extractor whose classes are no labels."""
    judge = PixelExtractor()
    judge.own_classes = True
    return judge


class SpatialExtractor(PixelExtractor):
    """One that shows an inner map too."""

    def __call__(self, images):
        return replace(super().__call__(images), spatial=images[:, 0].float().flatten(1))


@pytest.fixture
def spatial_extractor():
    return SpatialExtractor()


@pytest.fixture(scope="session")
def images():
    """`images(n, seed)`: random uint8 NCHW images of 3x2x2."""

    def draw(n: int, seed: int, low: int = 0, high: int = 256) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(low, high, (n, 3, 2, 2), generator=generator, dtype=torch.uint8)

    return draw
