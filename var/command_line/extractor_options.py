"""Options that say in which features images are judged."""

import argparse
from pathlib import Path


def add_extractor_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--extractor",
        default="inception",
        metavar="NAME-OR-PATH",
        help="inception, dinov2, timm:NAME, or the folder of a trained classifier (default inception)",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of the extractor (default: downloaded)")
    parser.add_argument("--device", help="for example cpu, cuda or cuda:1 (default: cuda where there is one)")


def add_classifier_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say who tells the classes of samples."""
    parser.add_argument(
        "--classifier",
        metavar="NAME-OR-PATH",
        help="who tells the classes of samples where the extractor does not: timm:NAME or a classifier's folder",
    )
    parser.add_argument("--classifier-weights", type=Path, metavar="FILE", help="its weights (default: downloaded)")
