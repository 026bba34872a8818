"""The options that all training commands share; importing this is cheap."""

import argparse

from var.command_line.frame import file_path, one_of, whole_number

RESUMES = True
"""An interrupted training command goes on when it is given again."""


def add_run_arguments(parser: argparse.ArgumentParser, presets: str) -> None:
    """Declare DATA and the options; `presets` names some in the help."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of class folders (or of images, for a model without classes), tar shards, or a name as `digits`",
    )
    parser.add_argument("--preset", required=True, help=f"what is trained and how, for example {presets}")
    parser.add_argument(
        "--output",
        type=file_path,
        required=True,
        metavar="FOLDER",
        help="the run's folder; given again, the run goes on",
    )
    add_set_argument(parser, "override a setting, for example training.steps=100; may be repeated")
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        type=file_path,
        dest="files",
        metavar="FILE",
        help="override settings by a YAML or JSON file; may be repeated, and comes before --set",
    )
    parser.add_argument("--plan", action="store_true", help="tell the size and cost of the run, and do nothing")
    parser.add_argument("--init", metavar="MODEL", help="start from these weights (fine-tuning), not from random ones")
    parser.add_argument("--seed", type=whole_number(), help="of all randomness; the same as --set training.seed=N")
    parser.add_argument("--device", help="cpu, cuda, ...; the default is the best there is")
    parser.add_argument("--workers", type=whole_number(), default=0, help="processes that decode images (default 0)")
    parser.add_argument(
        "--on-bad-image",
        type=one_of("error", "skip"),
        default="error",
        help="what an image that cannot be read does: stop the run, or be passed over and listed (default error)",
    )
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        type=one_of("tensorboard", "wandb", "trackio"),
        help="send the numbers there too; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def add_set_argument(parser: argparse.ArgumentParser, told: str) -> None:
    """Declare the option that overrides settings; `told` is its help."""
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="NAME=VALUE", help=told)


def assignments(arguments: argparse.Namespace) -> list[str]:
    """The overrides of the command line, those by options of their own included."""
    own = [] if arguments.seed is None else [f"training.seed={arguments.seed}"]
    return [*own, *arguments.assignments]
