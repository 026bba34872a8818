"""From the name that a user types to a network that judges."""

import os
from pathlib import Path

from var import checks
from var.errors import UserError, suggestion
from var.evaluation.features.extraction import FeatureExtractor
from var.evaluation.features.inception import INCEPTION, InceptionExtractor
from var.names import shown
from var.paths import expanded

NAMES = ("inception", "dinov2")


def open_extractor(
    name: str, *, weights: Path | str | None = None, device: str = "cpu", progress: bool = True
) -> FeatureExtractor:
    """The extractor called `name`: "inception", "dinov2", "timm:NAME", or the folder of a trained classifier.

    `weights` is the file of a published network; without it torch's cache of checkpoints is used, or a download. Raises
    `UserError` for an unknown name, or weights that are missing or not the published ones.
    """
    name = checks.argument("the name of an extractor", name, str)
    if name == "inception":
        return InceptionExtractor.load(weights, device=device, progress=progress)
    if name == "dinov2":
        from var.evaluation.features.dinov2 import DINOv2Extractor

        return DINOv2Extractor.load(weights, device=device, progress=progress)
    if name.startswith("timm:"):
        from var.evaluation.features.timm_classifier import TimmClassifier

        return TimmClassifier.load(name.removeprefix("timm:"), weights, device=device)
    if not os.path.isdir(expanded(name or ".no name")):
        raise UserError(
            f"an extractor is {' or '.join(map(repr, NAMES))}, 'timm:NAME' or the folder of a classifier, "
            f"got {shown(name)!r}; {suggestion(name, NAMES)}"
        )
    if weights is not None:
        raise UserError(f"a classifier's folder holds its weights, got weights={str(weights)!r} too; leave them out")
    from var.evaluation.features.classifier import Classifier

    return Classifier.from_pretrained(expanded(name), device=device)


def distance_name(extractor_name: str, digest: str) -> str:
    """`FID` for Inception with the weights of 2015-12-05 and for nothing else, `FD-name` for every other network."""
    return "FID" if (extractor_name, digest) == ("inception", INCEPTION.sha256) else f"FD-{extractor_name}"
