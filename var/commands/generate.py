"""`var generate`: images of chosen classes and seeds, one file each."""

from var.commands import guides
from var.generation.sampling_settings import SamplingSettings
from var.sampling.command import generate_command

HELP = "draw images of chosen classes and seeds into files"
RESUMES = True

add_arguments, run = generate_command(guides.add_arguments, guides.load, SamplingSettings)
