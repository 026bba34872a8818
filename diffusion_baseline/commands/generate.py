"""`python -m diffusion_baseline generate`: images of chosen classes and seeds, one file each."""

from diffusion_baseline.commands import cascade
from diffusion_baseline.sampling_settings import SamplingSettings
from var.sampling.command import generate_command

HELP = "draw images of chosen classes and seeds into files"
RESUMES = True

add_arguments, run = generate_command(cascade.add_arguments, cascade.load, SamplingSettings)
