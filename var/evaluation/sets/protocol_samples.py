"""The samples that a protocol asks for, drawn by the command lines of both packages."""

import argparse
from collections.abc import Callable

from var.command_line.sampling_options import add_sample_set_arguments
from var.evaluation.sets.protocols import Paradigm, protocol
from var.sampling.command import AddArguments, Load


def sample_set_command(
    add_model: AddArguments, load: Load, *, paradigm: Paradigm
) -> tuple[AddArguments, Callable[[argparse.Namespace], None]]:
    """`add_arguments` and `run` of the command that draws a protocol's set with a model of `paradigm`."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add_model(parser)
        add_sample_set_arguments(parser)

    def run(arguments: argparse.Namespace) -> None:
        """Draw what is missing of the set, and pack it if asked to; the model is loaded after the protocol is known."""
        from var.evaluation.sets.samples import save_npz
        from var.sampling.sample_set import draw_sample_set, first_process

        chosen = protocol(arguments.protocol, paradigm=paradigm)
        drawn = draw_sample_set(
            arguments,
            load(arguments),
            labels=chosen.labels(),
            options=chosen.sampling,
            rounding=chosen.rounding,
            num_classes=chosen.num_classes,
            image_shape=(chosen.channels, chosen.image_size, chosen.image_size),
        )
        if arguments.npz is not None and first_process():
            save_npz(arguments.output, arguments.npz)
        print(drawn)

    return add_arguments, run
