"""`var doctor`: whether a training is sound, and what to do if it is not."""

import argparse

from var.command_line.frame import FAULT, OK, file_path, whole_number
from var.outputs import check_outputs

HELP = "look at a run of `var train`, and say what is wrong with it and what to do"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "run",
        type=file_path,
        metavar="RUN",
        help="the run's folder: --output of `var train vqvae`, `transformer` or `decoder`",
    )
    parser.add_argument("--data", metavar="DATA", help="the training images, where they are elsewhere now")
    parser.add_argument(
        "--vqvae",
        "--tokenizer",
        metavar="MODEL",
        help="the tokenizer, where it is not in the folder: of unfinished runs",
    )
    parser.add_argument(
        "--overfit-steps",
        type=whole_number(),
        default=100,
        metavar="N",
        help="steps in which a copy of the model learns ten images by heart (default 100; 0: none)",
    )
    parser.add_argument(
        "--given-scales",
        action="store_true",
        help="also tell what each map costs: the distance of images whose first maps are true and the others drawn",
    )
    parser.add_argument("--json", type=file_path, metavar="FILE", help="write the findings and all numbers as JSON")
    parser.add_argument("--device", help="cpu, cuda, ...; the default is the best there is")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(arguments: argparse.Namespace) -> int:
    """Examine the run and print what was found; the exit code is 1 if that is a fault."""
    from var.doctor import examine

    check_outputs([("--json", arguments.json)], [arguments.run], model=arguments.run)
    report = examine(
        arguments.run,
        data=arguments.data,
        vqvae=arguments.vqvae,
        overfit_steps=arguments.overfit_steps,
        given_scales=arguments.given_scales,
        device=arguments.device,
        progress=not arguments.quiet,
    )
    try:
        if arguments.json is not None:
            report.to_json(arguments.json)
    finally:
        print(report.text())
    return OK if report.sound else FAULT
