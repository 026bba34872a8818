"""The command line of the diffusion baseline: the table of its commands."""

from collections.abc import Sequence

from var.command_line.frame import run

COMMANDS = {
    "generate": "diffusion_baseline.commands.generate",
    "edit": "diffusion_baseline.commands.edit",
    "train": "diffusion_baseline.commands.train",
    "train-classifier": "diffusion_baseline.commands.train_classifier",
    "sample-set": "diffusion_baseline.commands.sample_set",
}
"""Where each command lives: a module with HELP, add_arguments and run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the baseline's command line with `argv` (default: the process's arguments); returns the exit code."""
    return run("python -m diffusion_baseline", "The diffusion baseline beside next-scale prediction.", COMMANDS, argv)
