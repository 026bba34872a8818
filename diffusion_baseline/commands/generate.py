"""`python -m diffusion_baseline generate`: images of chosen classes and seeds, one file each."""

import argparse

from diffusion_baseline.commands import model
from var.command_line.frame import number, one_of, whole_number
from var.command_line.sampling_options import add_drawing_arguments
from var.hub.remote import existing_path
from var.sampling.command import draw_by_command
from var.sampling.seeds import parse_seeds

HELP = "draw images of chosen classes and seeds into files"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model.add_arguments(parser)
    add_drawing_arguments(parser)
    parser.add_argument(
        "--guidance", type=number, default=1.5, help="guidance scale; 1 is off, 0 ignores the class (default 1.5)"
    )
    parser.add_argument(
        "--steps", type=whole_number(least=1), help="network steps (default: 50 for ddim, all of them for ddpm)"
    )
    parser.add_argument("--sampler", type=one_of("ddim", "ddpm"), default="ddim", help="ddim or ddpm (default ddim)")
    parser.add_argument("--eta", type=number, default=0.0, help="randomness of ddim, from 0 to 1 (default 0)")
    parser.add_argument("--clip-sample", action="store_true", help="keep predicted images in range at every step")


def run(arguments: argparse.Namespace) -> None:
    """Draw the images that the options ask for."""
    existing_path(arguments.model)  # refused before torch is imported, which takes longer than to say so
    parse_seeds(arguments.seeds)  # refused before a model is fetched
    options = {
        "guidance_scale": arguments.guidance,
        "num_inference_steps": arguments.steps,
        "sampler": arguments.sampler,
        "eta": arguments.eta,
        "clip_sample": arguments.clip_sample,
    }
    draw_by_command(arguments, model.load(arguments), options)
