"""The networks that judge images: the options that name them, and how they are loaded."""

import argparse
from pathlib import Path
from typing import Any

from var.command_line.frame import file_path
from var.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say in which features images are judged."""
    parser.add_argument(
        "--extractor",
        default="inception",
        metavar="NAME-OR-PATH",
        help="inception, dinov2, timm:NAME, or the folder of a trained classifier (default inception)",
    )
    parser.add_argument(
        "--weights", type=file_path, metavar="FILE", help="weights of the extractor (default: downloaded)"
    )
    parser.add_argument("--device", help="for example cpu, cuda or cuda:1 (default: cuda where there is one)")


def add_classifier_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say who tells the classes of samples."""
    parser.add_argument(
        "--classifier",
        metavar="NAME-OR-PATH",
        help="who tells the classes of samples where the extractor does not: timm:NAME or a classifier's folder",
    )
    parser.add_argument(
        "--classifier-weights", type=file_path, metavar="FILE", help="its weights (default: downloaded)"
    )


def files(arguments: argparse.Namespace) -> list[Path | str | None]:
    """The files and folders that the options may name, in place of which nothing may be written."""
    names = ("extractor", "weights", "classifier", "classifier_weights")
    return [getattr(arguments, name, None) for name in names]


def load(arguments: argparse.Namespace, *, progress: bool) -> Any:
    """The extractor that the options name."""
    return _opened(arguments.extractor, arguments.weights, arguments, progress=progress)


def load_classifier(arguments: argparse.Namespace, *, progress: bool) -> Any:
    """The classifier that the options name; None without one."""
    if arguments.classifier is not None:
        return _opened(arguments.classifier, arguments.classifier_weights, arguments, progress=progress)
    if arguments.classifier_weights is not None:
        raise UserError("--classifier-weights are of a --classifier, got none; name it")
    return None


def _opened(name: str, weights: Path | None, arguments: argparse.Namespace, *, progress: bool) -> Any:
    from var.devices import chosen_device
    from var.evaluation.features.catalog import open_extractor

    return open_extractor(name, weights=weights, device=chosen_device(arguments.device), progress=progress)
