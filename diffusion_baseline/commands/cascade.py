"""Options that say which pipelines draw: one, one and another that enlarges its images, or both of a saved cascade."""

import argparse
from dataclasses import replace
from functools import partial

from diffusion_baseline.commands import guides, model
from diffusion_baseline.sampling_settings import SamplingSettings
from var.command_line.frame import number
from var.errors import UserError
from var.foreign.documents import read_json
from var.hub.layout import MOST_INDEX, PIPELINE_INDEX
from var.hub.remote import existing_path, find_file
from var.sampling.command import LoadedModel, placement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    guides.add_arguments(parser)
    parser.add_argument(
        "--upscaler", metavar="PATH-OR-ID", help="pipeline that enlarges the images of --model, as a cascade"
    )
    help_ = "noise of a cascade's small images, as a share of the timesteps (default: half of the training's most)"
    parser.add_argument("--augmentation", type=number, metavar="SHARE", help=help_)


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name, or the cascade; raises `UserError` for two that do not fit."""
    from diffusion_baseline.cascade import CascadePipeline

    whole, upscaler = _holds_cascade(arguments), arguments.upscaler
    if whole and upscaler is not None:
        raise UserError(f"{arguments.model} is a cascade, which enlarges by itself, got --upscaler too; leave it out")
    if not whole and upscaler is None:
        if arguments.augmentation is not None:
            raise UserError(f"--augmentation is of a cascade, got {arguments.model} alone; pass --upscaler too")
        return guides.load(arguments)
    for name in ("weaker", "classifier"):
        if getattr(arguments, name) is not None:
            raise UserError(f"a cascade is guided by its own networks, got --{name} too; leave it out")
    if upscaler is None:
        cascade = CascadePipeline.from_pretrained(arguments.model, revision=arguments.revision, **placement(arguments))
    else:
        existing_path(upscaler, "diffusion_baseline")  # before the other one is loaded
        large = argparse.Namespace(**{**vars(arguments), "model": upscaler, "revision": None})
        cascade = CascadePipeline(model.opened(arguments), model.opened(large))
    small, large = (model.described(part, arguments) for part in (cascade.base, cascade.super_resolution))

    def evaluations(sampling: SamplingSettings) -> int:
        return sum(part.evaluations(sampling) for part in (small, large) if part.evaluations)

    # Records tell the same of parts and of the cascade that was saved of them.
    record = {**small.record, "pipeline": CascadePipeline.__name__, "upscaler": large.record["fingerprint"]}
    record |= cascade.terms.entry()
    told = {} if arguments.augmentation is None else {"augmentation": arguments.augmentation}
    own = {"pipeline": partial(cascade, **told), "image_shape": cascade.image_shape, "picture": None, "goes_on": large}
    return replace(small, **own, record={**record, **told}, evaluations=evaluations)


def _holds_cascade(arguments: argparse.Namespace) -> bool:
    """Whether the model is a cascade that was saved, in a folder or on the Hub."""
    folder = existing_path(arguments.model, "diffusion_baseline")
    if folder is None:
        index = find_file(arguments.model, PIPELINE_INDEX, revision=arguments.revision)
    elif not (index := folder / PIPELINE_INDEX).is_file():
        return False
    return read_json(index, most=MOST_INDEX).get("class") == "CascadePipeline"
