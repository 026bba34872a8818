"""Options that say in which features images are judged."""

import argparse
from pathlib import Path
from typing import Any

from var.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--extractor",
        default="inception",
        metavar="NAME-OR-PATH",
        help="inception, dinov2, timm:NAME, or the folder of a trained classifier (default inception)",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of the extractor (default: downloaded)")
    parser.add_argument("--device", help="for example cpu, cuda or cuda:1 (default: cuda where there is one)")


def load_classifier(arguments: argparse.Namespace, *, progress: bool) -> Any:
    """The network that `--classifier` names; None without one."""
    from var.evaluation.extractors import open_extractor
    from var.image_sets.command import chosen_device

    if arguments.classifier is None:
        if arguments.classifier_weights is not None:
            raise UserError("--classifier-weights are of a --classifier, got none; name it")
        return None
    device = chosen_device(arguments.device)
    return open_extractor(arguments.classifier, weights=arguments.classifier_weights, device=device, progress=progress)


def load(arguments: argparse.Namespace, *, progress: bool) -> Any:
    """The extractor that the options name."""
    from var.evaluation.extractors import open_extractor
    from var.image_sets.command import chosen_device

    return open_extractor(
        arguments.extractor, weights=arguments.weights, device=chosen_device(arguments.device), progress=progress
    )
