"""Options that say which model to load, which images to draw, and where to."""

import argparse
from pathlib import Path

from var.command_line.frame import file_path, one_of, whole_number

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""The words for types on command lines."""


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say which model to load, and where to."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="PATH-OR-ID",
        help="folder of a saved pipeline, next-scale/NAME for a model that comes along, or Hub id",
    )
    parser.add_argument("--revision", help="branch, tag or commit on the Hub (a token is read from HF_TOKEN)")
    parser.add_argument(
        "--dtype", type=one_of(*DTYPES), help="fp32, bf16 or fp16 (default: as saved; what comes along: fp32)"
    )
    parser.add_argument("--device", help="for example cpu, cuda or cuda:1 (default: cuda where there is one)")


def add_weaker_argument(parser: argparse.ArgumentParser) -> None:
    """The option that says which weaker model guides the one that draws."""
    parser.add_argument(
        "--weaker",
        metavar="PATH-OR-ID",
        help="weaker model of the same kind, from which guidance leads away instead of from images of nothing",
    )


def add_drawing_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say which images to draw, and where to."""
    parser.add_argument(
        "--classes",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="names, labels, or the word random; without, images have no class",
    )
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument("--prompt", metavar="TEXT", help="what all images show, for a model that was trained on texts")
    texts.add_argument(
        "--prompts", type=file_path, metavar="FILE", help="a text in each line: all seeds are drawn for each of them"
    )
    parser.add_argument(
        "--seeds", nargs="+", default=["0"], metavar="SEEDS", help="for example 7, 0-15 or 3,8-9 (default 0)"
    )
    parser.add_argument(
        "--output",
        type=file_path,
        default=Path("outputs/generated"),
        metavar="DIR",
        help="folder of the images, each SEED.png, of several classes or prompts a folder each (default %(default)s)",
    )
    parser.add_argument("--grid", type=file_path, metavar="PNG", help="also put all images side by side in this file")
    add_batch_arguments(parser)


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say how to draw."""
    parser.add_argument("--batch-size", type=whole_number(least=1), default=16, help="images at a time (default 16)")
    parser.add_argument("--overwrite", action="store_true", help="draw images again that have other settings")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def add_sample_set_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say which set to draw, and where to."""
    parser.add_argument("--protocol", required=True, metavar="NAME", help="for example imagenet256-official")
    parser.add_argument(
        "--output", type=file_path, required=True, metavar="DIR", help="folder of the images, each SEED.png"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(),
        default=0,
        help="number of the set: set s has the seeds from s times the protocol's count on (default 0)",
    )
    parser.add_argument(
        "--count", type=whole_number(least=1), help="so many of the images, spread evenly (default: the protocol's)"
    )
    parser.add_argument("--npz", type=file_path, metavar="FILE", help="also pack all images into one file, as ADM does")
    add_batch_arguments(parser)
