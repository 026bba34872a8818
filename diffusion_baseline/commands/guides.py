"""Options that say which pipeline to load, and which other models guide it."""

import argparse

from diffusion_baseline.commands import model
from var.command_line.sampling_options import add_weaker_argument
from var.sampling.command import LoadedModel, guided_by, placement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model.add_arguments(parser)
    add_weaker_argument(parser)
    parser.add_argument(
        "--classifier", metavar="PATH-OR-ID", help="classifier of noisy images that guides towards the classes"
    )


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name, guided as they say."""
    loaded = guided_by(model.load(arguments), arguments, model.load)
    if arguments.classifier is None:
        return loaded
    from diffusion_baseline.classifier.model import NoisyClassifier
    from var.sampling.record import fingerprint

    classifier = NoisyClassifier.from_pretrained(arguments.classifier, **placement(arguments))
    return loaded.guided(classifier=(classifier, fingerprint(classifier)))
