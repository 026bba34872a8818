"""`var generate`: images of chosen classes and seeds, one file each."""

import argparse

from var.command_line.field_options import add_field_options, settings_of
from var.command_line.sampling_options import add_drawing_arguments
from var.commands import model
from var.generation.sampling_settings import SamplingSettings
from var.hub.remote import existing_path
from var.sampling.command import draw_by_command
from var.sampling.seeds import parse_seeds

HELP = "draw images of chosen classes and seeds into files"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model.add_arguments(parser)
    add_drawing_arguments(parser)
    add_field_options(parser, SamplingSettings)


def run(arguments: argparse.Namespace) -> None:
    """Draw the images that the options ask for."""
    existing_path(arguments.model)  # refused before torch is imported, which takes longer than to say so
    # Refused before a model is fetched.
    parse_seeds(arguments.seeds)
    sampling = settings_of(SamplingSettings, arguments)
    draw_by_command(arguments, model.load(arguments), sampling.keywords())
