"""`python -m diffusion_baseline train`: the U-Net, on one's own images."""

import argparse

from var.command_line.run_options import RESUMES, add_run_arguments

HELP = "train the diffusion baseline, or go on with it"

__all__ = ["HELP", "RESUMES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run_arguments(parser, "digits, shapes-32, unet-64")
    parser.add_argument(
        "--codec", metavar="MODEL", help="the trained autoencoder whose latents are diffused, for presets with latent"
    )


def run(arguments: argparse.Namespace) -> None:
    """Train, or go on, or show the plan."""
    from diffusion_baseline.job import DiffusionJob
    from var.runs.carrying_out import train_command

    train_command(arguments, DiffusionJob.of)
