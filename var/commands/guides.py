"""Options that say which VAR pipeline to load, and which weaker one guides it."""

import argparse

from var.command_line.sampling_options import add_weaker_argument
from var.commands import model
from var.sampling.command import LoadedModel, guided_by


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model.add_arguments(parser)
    add_weaker_argument(parser)


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name, guided as they say."""
    return guided_by(model.load(arguments), arguments, model.load)
