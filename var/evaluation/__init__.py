"""Features -> statistics -> numbers: one evaluation for every kind of generator.

Four wings: `features` (networks and what they say), `sets` (what is judged), `metrics` (the numbers) and `report` (how
they are shown); `scores`, `text_judging` and `judging` join them. Names are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from var.lazy import lazy_names

if TYPE_CHECKING:
    from var.evaluation.features.classifier import Classifier as Classifier
    from var.evaluation.features.classifier import ClassifierConfig as ClassifierConfig
    from var.evaluation.features.classifier import train_classifier as train_classifier
    from var.evaluation.features.extraction import FeatureExtractor as FeatureExtractor
    from var.evaluation.features.extraction import Features as Features
    from var.evaluation.features.extraction import extract as extract
    from var.evaluation.metrics.frechet import RankDeficientWarning as RankDeficientWarning
    from var.evaluation.metrics.frechet import frechet_distance as frechet_distance
    from var.evaluation.metrics.frechet_infinity import Extrapolation as Extrapolation
    from var.evaluation.metrics.frechet_infinity import frechet_infinity as frechet_infinity
    from var.evaluation.metrics.inception_score import inception_score as inception_score
    from var.evaluation.metrics.inception_score import sequential_inception_score as sequential_inception_score
    from var.evaluation.metrics.inception_score import sharpness_and_diversity as sharpness_and_diversity
    from var.evaluation.metrics.kernel import kernel_distance as kernel_distance
    from var.evaluation.metrics.lpips import LPIPS as LPIPS
    from var.evaluation.metrics.memorization import Memorisation as Memorisation
    from var.evaluation.metrics.memorization import Memorization as Memorization
    from var.evaluation.metrics.memorization import memorisation as memorisation
    from var.evaluation.metrics.memorization import memorization as memorization
    from var.evaluation.metrics.neighbours import density_coverage as density_coverage
    from var.evaluation.metrics.neighbours import nearest_distance as nearest_distance
    from var.evaluation.metrics.neighbours import precision_recall as precision_recall
    from var.evaluation.metrics.reconstruction import ReconstructionScores as ReconstructionScores
    from var.evaluation.metrics.reconstruction import evaluate_reconstructions as evaluate_reconstructions
    from var.evaluation.metrics.reconstruction import psnr as psnr
    from var.evaluation.metrics.reconstruction import ssim as ssim
    from var.evaluation.metrics.statistics import Statistics as Statistics
    from var.evaluation.scores import Neighbourhood as Neighbourhood
    from var.evaluation.scores import Reference as Reference
    from var.evaluation.scores import Scores as Scores
    from var.evaluation.scores import evaluate as evaluate
    from var.evaluation.sets.controls import gaussian_per_class as gaussian_per_class
    from var.evaluation.sets.controls import real_halves as real_halves
    from var.evaluation.sets.controls import token_marginals as token_marginals
    from var.evaluation.sets.perturbed import perturbed_tokens as perturbed_tokens
    from var.evaluation.text_judging import TextEvidence as TextEvidence
    from var.evaluation.text_judging import TextJudge as TextJudge

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "var.evaluation.features.classifier": "Classifier ClassifierConfig train_classifier",
        "var.evaluation.sets.controls": "gaussian_per_class real_halves token_marginals",
        "var.evaluation.sets.perturbed": "perturbed_tokens",
        "var.evaluation.metrics.memorization": "Memorisation Memorization memorisation memorization",
        "var.evaluation.features.extraction": "FeatureExtractor Features extract",
        "var.evaluation.metrics.frechet": "RankDeficientWarning frechet_distance",
        "var.evaluation.metrics.inception_score": "inception_score sequential_inception_score sharpness_and_diversity",
        "var.evaluation.metrics.frechet_infinity": "Extrapolation frechet_infinity",
        "var.evaluation.metrics.kernel": "kernel_distance",
        "var.evaluation.metrics.neighbours": "density_coverage nearest_distance precision_recall",
        "var.evaluation.metrics.lpips": "LPIPS",
        "var.evaluation.metrics.reconstruction": "ReconstructionScores evaluate_reconstructions psnr ssim",
        "var.evaluation.scores": "Neighbourhood Reference Scores evaluate",
        "var.evaluation.metrics.statistics": "Statistics",
        "var.evaluation.text_judging": "TextEvidence TextJudge",
    },
)
