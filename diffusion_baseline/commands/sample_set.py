"""`python -m diffusion_baseline sample-set`: the samples that a protocol asks for, drawn by any number of processes."""

import argparse

from diffusion_baseline.commands import model
from var.command_line.sampling_options import add_sample_set_arguments

HELP = "draw the samples that a protocol asks for"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model.add_arguments(parser)
    add_sample_set_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Draw what is missing of the set."""
    from var.evaluation.sets.protocol_samples import draw_protocol

    draw_protocol(arguments, lambda: model.load(arguments), paradigm="diffusion")
