"""Options that say which diffusion pipeline to load, and how to load it."""

import argparse

from var.command_line.sampling_options import add_model_arguments as add_arguments
from var.sampling.command import LoadedModel, placement

__all__ = ["add_arguments", "load"]


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name."""
    from diffusion_baseline.pipeline import DiffusionPipeline
    from var.sampling.record import fingerprint

    pipeline = DiffusionPipeline.from_pretrained(arguments.model, revision=arguments.revision, **placement(arguments))
    record = {
        "pipeline": type(pipeline).__name__,
        "model": arguments.model,
        "revision": arguments.revision,
        "fingerprint": fingerprint(*pipeline.models().values(), settings=pipeline.settings()),
        "dtype": str(pipeline.unet.stem.weight.dtype).removeprefix("torch."),
        "device": pipeline.device.type,
    }
    return LoadedModel(
        pipeline=pipeline,
        num_classes=pipeline.unet.config.num_classes,
        image_shape=pipeline.image_shape,
        class_names=pipeline.class_names,
        record=record,
        text_encoder=pipeline.settings().get("text_encoder"),
    )
