"""Options that say which VAR pipeline to load, and how to load it."""

import argparse

from var.command_line.sampling_options import add_model_arguments
from var.sampling.command import LoadedModel, placement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model_arguments(parser)
    parser.add_argument("--variant", help="which of several models to take, for example d16 of FoundationVision/var")
    parser.add_argument("--compile", action="store_true", help="compile the transformer: a slow start, then faster")


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name."""
    from var.generation import VARPipeline
    from var.generation.sampling_settings import SamplingSettings
    from var.recipes.other_kinds import sent_on
    from var.sampling.record import fingerprint

    source = {"variant": arguments.variant, "revision": arguments.revision}
    with sent_on(arguments.model):
        pipeline = VARPipeline.from_pretrained(arguments.model, **source, **placement(arguments))
    record = {
        "pipeline": type(pipeline).__name__,
        "model": arguments.model,
        **source,
        "fingerprint": fingerprint(*pipeline.models().values(), settings=pipeline.handover),
        "dtype": str(pipeline.transformer.position.dtype).removeprefix("torch."),
        "device": pipeline.device.type,
        "compile": arguments.compile,
        **pipeline.terms.entry(),
    }
    return LoadedModel(
        pipeline=pipeline.compile() if arguments.compile else pipeline,
        num_classes=pipeline.transformer.config.num_classes,
        image_shape=pipeline.image_shape,
        class_names=pipeline.class_names,
        record=record,
        text_encoder=pipeline.settings().get("text_encoder"),
        sampling=SamplingSettings,
        recommended=pipeline.sampling,
        evaluations=lambda sampling: sampling.evaluations(pipeline.transformer.config.drawing.by_map),
        picture=lambda latent: pipeline.vqvae.decode_latent(latent.to(pipeline.vqvae.codes(0))).float(),
    )
