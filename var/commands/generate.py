"""`var generate`: images of chosen classes and seeds, one file each."""

import argparse

from var.command_line.frame import number, one_of, whole_number
from var.command_line.sampling_options import add_drawing_arguments
from var.commands import model
from var.hub.remote import existing_path
from var.sampling.command import draw_by_command
from var.sampling.seeds import parse_seeds

HELP = "draw images of chosen classes and seeds into files"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model.add_arguments(parser)
    add_drawing_arguments(parser)
    parser.add_argument("--guidance", type=number, default=1.5, help="guidance scale; 1 is off (default 1.5)")
    parser.add_argument(
        "--guidance-schedule",
        type=one_of("linear", "constant"),
        default="linear",
        help="linear, from 1 at the first scale, or constant (default linear)",
    )
    parser.add_argument("--top-k", type=whole_number(), default=0, help="draw among the k likeliest codes; 0: all")
    parser.add_argument("--top-p", type=number, default=0.0, help="draw among codes of this probability; 0: all")
    parser.add_argument("--temperature", type=number, default=1.0, help="divides the logits (default 1)")
    parser.add_argument("--smooth", action="store_true", help="mix codes by Gumbel-softmax instead of drawing one")


def run(arguments: argparse.Namespace) -> None:
    """Draw the images that the options ask for."""
    existing_path(arguments.model)  # refused before torch is imported, which takes longer than to say so
    from var.generation.logits import Sampling

    # Refused before a model is fetched.
    parse_seeds(arguments.seeds)
    Sampling(temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p)
    options = {
        "guidance_scale": arguments.guidance,
        "guidance_schedule": arguments.guidance_schedule,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "temperature": arguments.temperature,
        "smooth": arguments.smooth,
    }
    draw_by_command(arguments, model.load(arguments), options)
