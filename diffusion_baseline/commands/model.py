"""Options that say which diffusion pipeline to load, and how to load it."""

import argparse
from typing import TYPE_CHECKING

from var.command_line.sampling_options import add_model_arguments as add_arguments
from var.sampling.command import LoadedModel, placement

if TYPE_CHECKING:
    from diffusion_baseline.pipeline import DiffusionPipeline

__all__ = ["add_arguments", "described", "load", "opened"]


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name."""
    return described(opened(arguments), arguments)


def opened(arguments: argparse.Namespace) -> "DiffusionPipeline":
    """The pipeline itself."""
    from diffusion_baseline.other_kinds import sent_on
    from diffusion_baseline.pipeline import DiffusionPipeline

    with sent_on(arguments.model):
        return DiffusionPipeline.from_pretrained(arguments.model, revision=arguments.revision, **placement(arguments))


def described(pipeline: "DiffusionPipeline", arguments: argparse.Namespace) -> LoadedModel:
    """A pipeline, with what the options called it."""
    from diffusion_baseline.sampling_settings import SamplingSettings
    from var.sampling.record import fingerprint

    record = {
        "pipeline": type(pipeline).__name__,
        "model": arguments.model,
        "revision": arguments.revision,
        "fingerprint": fingerprint(*pipeline.models().values(), settings=pipeline.identity),
        "dtype": str(pipeline.unet.stem.weight.dtype).removeprefix("torch."),
        "device": pipeline.device.type,
        **pipeline.terms.entry(),
    }

    return LoadedModel(
        pipeline=pipeline,
        num_classes=pipeline.unet.config.num_classes,
        image_shape=pipeline.image_shape,
        class_names=pipeline.class_names,
        record=record,
        text_encoder=pipeline.settings().get("text_encoder"),
        sampling=SamplingSettings,
        recommended=pipeline.sampling,
        evaluations=lambda sampling: sampling.evaluations(pipeline.schedule.noise),
        picture=pipeline.decode,
    )
