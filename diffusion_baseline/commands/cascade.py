"""Options that say which pipelines draw: one, one and another that enlarges its images, or both of a saved cascade."""

import argparse
from dataclasses import replace

from diffusion_baseline.commands import guides, model
from diffusion_baseline.sampling_settings import SamplingSettings
from var.errors import UserError
from var.foreign.documents import read_json
from var.hub.layout import MOST_INDEX, PIPELINE_INDEX
from var.hub.remote import existing_path
from var.sampling.command import LoadedModel, placement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    guides.add_arguments(parser)
    parser.add_argument(
        "--upscaler", metavar="PATH-OR-ID", help="pipeline that enlarges the images of --model, as a cascade"
    )


def load(arguments: argparse.Namespace) -> LoadedModel:
    """The pipeline that the options name, or the cascade; raises `UserError` for two that do not fit."""
    from diffusion_baseline.cascade import CascadePipeline

    whole, upscaler = _holds_cascade(arguments.model), arguments.upscaler
    if whole and upscaler is not None:
        raise UserError(f"{arguments.model} is a cascade, which enlarges by itself, got --upscaler too; leave it out")
    if not whole and upscaler is None:
        return guides.load(arguments)
    for name in ("weaker", "classifier"):
        if getattr(arguments, name) is not None:
            raise UserError(f"a cascade is guided by its own networks, got --{name} too; leave it out")
    if upscaler is None:
        cascade = CascadePipeline.from_pretrained(arguments.model, **placement(arguments))
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
    own = {"pipeline": cascade, "image_shape": cascade.image_shape, "picture": None}
    return replace(small, **own, record=record, evaluations=evaluations)


def _holds_cascade(name: str) -> bool:
    """Whether a cascade was saved in the folder of this name."""
    folder = existing_path(name, "diffusion_baseline")
    if folder is None or not (index := folder / PIPELINE_INDEX).is_file():
        return False
    return read_json(index, most=MOST_INDEX).get("class") == "CascadePipeline"
