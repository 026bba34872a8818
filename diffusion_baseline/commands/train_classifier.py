"""`python -m diffusion_baseline train-classifier`: a classifier of noisy images, which guides towards their classes."""

import argparse

from var.command_line.run_options import RESUMES, add_run_arguments

HELP = "train a classifier of noisy images for guidance, or go on with it"

__all__ = ["HELP", "RESUMES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run_arguments(parser, "digits, shapes-32, unet-64")


def run(arguments: argparse.Namespace) -> None:
    """Train, or go on, or show the plan."""
    from diffusion_baseline.classifier.job import NoisyClassifierJob
    from var.runs.carrying_out import train_command

    train_command(arguments, NoisyClassifierJob.of)
