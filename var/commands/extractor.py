"""The networks that the options of `var.command_line.extractor_options` name."""

import argparse
from pathlib import Path
from typing import Any

from var.errors import UserError


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
