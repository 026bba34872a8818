"""The samples that a protocol asks for, drawn by the command lines of both packages."""

import argparse
from collections.abc import Callable

from var.evaluation.sets.protocols import Paradigm, protocol
from var.evaluation.sets.samples import save_npz
from var.sampling.command import LoadedModel
from var.sampling.sample_set import draw_sample_set, first_process


def draw_protocol(arguments: argparse.Namespace, load: Callable[[], LoadedModel], *, paradigm: Paradigm) -> None:
    """Draw what is missing of the set that the options of `add_sample_set_arguments` ask for, and pack it if asked to.

    The model is loaded after the protocol is known. Raises `UserError` as `draw_sample_set` does.
    """
    chosen = protocol(arguments.protocol, paradigm=paradigm)
    draw_sample_set(
        arguments,
        load(),
        labels=chosen.labels(),
        options=chosen.sampling,
        rounding=chosen.rounding,
        num_classes=chosen.num_classes,
        image_shape=(chosen.channels, chosen.image_size, chosen.image_size),
    )
    if arguments.npz is not None and first_process():
        save_npz(arguments.output, arguments.npz)
