"""How the scores, sampler settings and controls of a comparison are named and written, in text and on the page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from var.quantities import fixed, quantity, significant

MODELS = {"var": "VAR", "diffusion": "Diffusion"}
CONTROLS = {
    "real_test": "Real test images",
    "test_against_train": "Test against train",
    "real_halves": "Two real halves",
    "class_gaussian": "Gaussian per class",
    "token_marginals": "Token marginals",
}
"""Titles of the usual controls; a report may hold further ones, which are shown under their own keys."""


@dataclass(frozen=True, slots=True)
class Column:
    """One score: its key in a row, its names, its unit, which way is better, its format and its meaning."""

    key: str
    title: str
    unit: str
    heading: tuple[str, str] | None  # two lines in the text table; None: not shown there
    better: Literal["lower", "higher"] | None
    show: Callable[[float], str]
    meaning: str

    def cell(self, row: Mapping[str, Any]) -> str:
        """The score of `row`; "-" where it does not apply."""
        value = row.get(self.key)
        return "-" if value is None else self.show(value)


def score_columns(distance_name: str) -> list[Column]:
    """The scores in the order in which they are shown; `distance_name` is FD-name."""
    short = distance_name if len(distance_name) <= 10 else f"{distance_name[:9]}~"
    near = "median Euclidean distance to the nearest training image (pixels in [-1, 1]); far below real test: copying"
    a, b, c = fixed(2), fixed(3), significant
    return [
        Column("samples", "Images", "", ("", "n"), None, quantity, "number of images scored; distances shrink with it"),
        Column("fd", distance_name, "", ("", short), "lower", b, "Frechet distance to the real images' features"),
        Column(
            *("fd_second", f"{distance_name}, second", "", None, "lower", b),
            "the same distance in the features of a second network, which was used for no choice",
        ),
        Column(
            *("seconds_per_1000_images", "Time", "s / 1000 images", ("s per", "1000"), "lower", c),
            "seconds to sample 1000 images, warm-up excluded",
        ),
        Column("kd", "KD", "", ("", "KD"), "lower", c, "kernel distance: unbiased squared MMD of the same features"),
        Column("inception_score", "IS", "", ("", "IS"), "higher", a, "Inception score of the same network"),
        Column("sharpness", "Sharpness", "", None, "higher", b, "how sure the classifier is of each image, 1 at best"),
        Column("diversity", "Diversity", "", None, "higher", a, "effective number of classes among all images"),
        Column(
            "precision", "Precision", "", ("preci-", "sion"), "higher", b, "share of images that lie among the real"
        ),
        Column("recall", "Recall", "", ("", "recall"), "higher", b, "share of real images that lie among these"),
        Column(
            *("class_consistency", "Class consistency", "", ("class", "cons."), "higher", b),
            "share of images that the classifier assigns to the class asked for",
        ),
        Column("nearest_train_distance", "Nearest train", "", ("near.", "train"), None, a, near),
        Column(
            *("closer_share", "Closer than test", "", None, None, a),
            "chance to lie nearer to a training image than a real test image; 0.5 as real, 1 copies",
        ),
        Column("nfe", "NFE", "an image", None, "lower", quantity, "network evaluations for an image, with guidance"),
        Column("flops_per_image", "FLOP", "an image", None, "lower", quantity, "operations to sample an image"),
    ]


def control_title(name: str) -> str:
    """The control `name` (a key of `Report.controls`) in words."""
    return CONTROLS.get(name, name.replace("_", " "))


def setting(row: Mapping[str, Any]) -> str:
    """The sampler setting of a row: "VAR g=1.5", "DDIM-50 g=1.5" (g is the guidance scale; 1 means off)."""
    sampler = "VAR" if row["model"] == "var" else f"{row['sampler'].upper()}-{row['steps']}"
    return f"{sampler} g={row['guidance_scale']:g}"
