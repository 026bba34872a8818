"""Features -> statistics -> numbers: one evaluation for every kind of generator.

Names are loaded when they are first used, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from var.evaluation.classifier import Classifier, ClassifierConfig, train_classifier
    from var.evaluation.controls import gaussian_per_class, real_halves, token_marginals
    from var.evaluation.features import FeatureExtractor, Features, extract
    from var.evaluation.frechet import RankDeficientWarning, frechet_distance
    from var.evaluation.inception import inception_score, sharpness_and_diversity
    from var.evaluation.kernel import kernel_distance
    from var.evaluation.neighbours import nearest_distance, precision_recall
    from var.evaluation.reconstruction import psnr
    from var.evaluation.scores import Reference, Scores, evaluate
    from var.evaluation.statistics import Statistics

_HOME = {
    "Classifier": "classifier",
    "ClassifierConfig": "classifier",
    "FeatureExtractor": "features",
    "Features": "features",
    "RankDeficientWarning": "frechet",
    "Reference": "scores",
    "Scores": "scores",
    "Statistics": "statistics",
    "evaluate": "scores",
    "extract": "features",
    "frechet_distance": "frechet",
    "gaussian_per_class": "controls",
    "inception_score": "inception",
    "kernel_distance": "kernel",
    "nearest_distance": "neighbours",
    "precision_recall": "neighbours",
    "psnr": "reconstruction",
    "real_halves": "controls",
    "sharpness_and_diversity": "inception",
    "token_marginals": "controls",
    "train_classifier": "classifier",
}

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "FeatureExtractor",
    "Features",
    "RankDeficientWarning",
    "Reference",
    "Scores",
    "Statistics",
    "evaluate",
    "extract",
    "frechet_distance",
    "gaussian_per_class",
    "inception_score",
    "kernel_distance",
    "nearest_distance",
    "precision_recall",
    "psnr",
    "real_halves",
    "sharpness_and_diversity",
    "token_marginals",
    "train_classifier",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
