"""How the scores, sampler settings and controls of a comparison are named and written, in text and on the page."""

from collections.abc import Mapping
from typing import Any

from comparison.families import FAMILIES
from var.evaluation.table import Score, titled
from var.quantities import fixed, quantity, significant

MODELS = {key: contender.title for key, contender in FAMILIES.items()}
COLORS = {key: contender.color for key, contender in FAMILIES.items()}
CONTROLS = {
    "real_test": "Real test images",
    "real_images": "Real images",
    "test_against_train": "Test against train",
    "real_halves": "Two real halves",
    "class_gaussian": "Gaussian per class",
    "token_marginals": "Token marginals",
}
"""Titles of the usual controls; a report may hold further ones, which are shown under their own keys."""

REAL = ("real_test", "real_images")
"""The controls that say what real images score: test images, or training images where distances are to the test's."""


_IMAGES = Score("samples", "Images", None, quantity, "number of images scored; distances shrink with it")
_TIME = Score(
    *("seconds_per_1000_images", "Time", "lower", significant, "seconds to sample 1000 images, warm-up excluded"),
    unit="s / 1000 images",
)
_COSTS = (
    Score("nfe", "NFE", "lower", quantity, "network evaluations for an image, with guidance", unit="per image"),
    Score("flops_per_image", "FLOP", "lower", quantity, "operations to sample an image", unit="per image"),
)


_TRAINING = (
    Score("train_seconds", "Training", "lower", significant, "seconds of all stages", unit="s"),
    Score("parameters", "Parameters", "lower", quantity, "of all stages"),
)
_LIKELIHOOD = (
    Score("likelihood", "Density", None, str, "whether the probability of an image is exact, bounded or unknown"),
    Score(
        *("bits_per_dimension", "Bits per value", None, fixed(2)),  # of other kinds it is not to be compared
        "negative log2-likelihood of unseen images of these grey levels, with uniform noise where the density is "
        "continuous, by the number of their values; of tokens it is none of pixels",
    ),
    Score("bits_estimate", "Bits by ODE", None, fixed(2), "the same along the probability-flow ODE, no bound"),
)


def score_columns(distance_name: str, *, families: bool = False) -> list[Score]:
    """The scores in the order in which they are shown, what an image costs among them; `distance_name` is FD-name.

    Of every family also what its training cost, and the likelihood.
    """
    scores = [score for score in titled(distance_name) if not score.thorough]
    quality = [score for score in scores if score.key.startswith("fd")]
    first, second = (_TRAINING, _LIKELIHOOD) if families else ((), ())
    rest = [score for score in scores if score not in quality]
    return [_IMAGES, *first, *quality, _TIME, *second, *rest, *_COSTS]


def headings(distance_name: str) -> dict[str, tuple[str, str]]:
    """The columns of the text table by key, and the two lines at the head of each."""
    short = distance_name if len(distance_name) <= 10 else f"{distance_name[:9]}~"
    return {
        "samples": ("", "n"),
        "fd": ("", short),
        "fd_ratio": ("", "FDr"),
        "seconds_per_1000_images": ("s per", "1000"),
        "kd": ("", "KD"),
        "inception_score": ("", "IS"),
        "precision": ("preci-", "sion"),
        "recall": ("", "recall"),
        "class_consistency": ("class", "cons."),
        "nearest_train_distance": ("near.", "train"),
    }


def real_control(controls: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]] | None:
    """The control that says what real images score, and its key; None where it was not measured."""
    return next(((name, controls[name]) for name in REAL if name in controls), None)


def control_title(name: str) -> str:
    """The control `name` (a key of `Report.controls`) in words."""
    return CONTROLS.get(name, name.replace("_", " "))


def setting(row: Mapping[str, Any]) -> str:
    """The sampler setting of a row, its guidance scale g at the end: 1 means off."""
    return FAMILIES[row["model"]].row_title(row)
